"""Things as plain YAML, from which they can be made again: what the ``config.yaml`` of a run holds."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def path_of(thing: type | Callable[..., Any]) -> str:
    """The dotted path by which a class is found again."""
    return f"{thing.__module__}.{thing.__qualname__}"


def describe(thing: Any) -> Any:
    """Plain YAML of a setting, from which the command line and the public functions make it again.

    An object may say itself what it is (``to_dict``); another one is its class and the arguments that its constructor
    keeps under their names, or in ``settings``; dataclasses are their fields.
    """
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    if isinstance(thing, Mapping):
        return {name: describe(value) for name, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [describe(value) for value in thing]
    if isinstance(thing, os.PathLike):
        return os.fspath(thing)
    if isinstance(thing, type):
        return path_of(thing)
    if hasattr(thing, "to_dict"):
        return describe(thing.to_dict())
    if is_dataclass(thing) and not hasattr(thing, "settings"):
        return {field.name: describe(getattr(thing, field.name)) for field in fields(thing)}
    arguments = thing.settings if hasattr(thing, "settings") else kept_arguments(thing)
    return {"class_path": path_of(type(thing)), "init_args": describe(arguments)}


def kept_arguments(thing: object) -> dict[str, Any]:
    """The constructor's arguments that an object keeps under their names."""
    names: list[str] = []
    for kind in type(thing).__mro__:
        parameters = inspect.signature(kind).parameters
        names += parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            break  # it passes nothing on to its base
    kept = getattr(thing, "__dict__", {})
    return {name: kept[name] for name in names if name in kept}
