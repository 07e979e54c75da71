"""The settings of readers, checked before a reader gets them."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from nni_count.data.dataset import Dataset
from nni_count.errors import SettingError

#: what a value of a type is called
NAMES = {int: "a whole number", float: "a number", str: "a text", Path: "a path", type(None): "null"}


def known_settings(reader: type[Dataset]) -> dict[str, tuple[type, ...]]:
    """The settings that a reader takes, its own first, and the types that each may have."""
    known: dict[str, tuple[type, ...]] = {}
    for kind in reader.__mro__:
        if "__init__" in vars(kind):
            hints = get_type_hints(vars(kind)["__init__"])
            parameters = inspect.signature(vars(kind)["__init__"]).parameters.values()
            for parameter in parameters:
                if parameter.kind is parameter.KEYWORD_ONLY:
                    known[parameter.name] = _types(hints.get(parameter.name, Any))
            if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
                break  # it hands nothing on
    return known


def check_settings(reader: type[Dataset], name: str, settings: dict[str, Any]) -> None:
    """Refuse settings that a reader does not have, and values of another type.

    Raises:
        SettingError: naming the setting, and those that there are or what it may be.
    """
    known = known_settings(reader)
    for setting, value in settings.items():
        if setting not in known:
            raise SettingError(f"data.{setting}: {name} has no such setting; known: {', '.join(known)}")
        types = known[setting]
        allowed = (*types, int) if float in types else types
        if not isinstance(value, allowed) or (isinstance(value, bool) and not {bool, object} & {*types}):
            expected = " or ".join(NAMES.get(kind, kind.__name__) for kind in types)
            raise SettingError(f"data.{setting}: {value!r}; give {expected}")


def _types(hint: Any) -> tuple[type, ...]:
    """Those of a value that is annotated so; ``object`` where that cannot be told."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    plain = [get_origin(kind) or kind for kind in kinds]
    return tuple(kind if isinstance(kind, type) else object for kind in plain)
