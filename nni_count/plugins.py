"""Spaces, strategies and tasks by name: those of installed packages through entry points, others by dotted path; and
the operations that installed packages register.
"""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from nni_count.errors import SettingError

#: entry-point groups by the option whose names they give
GROUPS = {"space": "nni_count.search_spaces", "strategy": "nni_count.strategies", "task": "nni_count.tasks"}


def load(option: str, name: str) -> Any:
    """What an option names, by entry point (``DARTS``) or dotted path (``my_package.MyStrategy``).

    Args:
        option: ``space``, ``strategy`` or ``task``.
        name: of the class.

    Raises:
        SettingError: nothing of that name is there, or it cannot be imported.
    """
    if "." in name:
        return _by_path(option, name)
    found = {entry.name: entry for entry in entry_points(group=GROUPS[option])}
    if name not in found:
        raise SettingError(f"{option}: {name!r} is unknown; known: {', '.join(found)}; or give a dotted path")
    return _load(option, found[name])


def load_operations() -> None:
    """Import the modules that installed packages name in the entry-point group ``nni_count.operations``; they register
    operations (see :mod:`nni_count.ops`), so that every process knows them.

    Raises:
        SettingError: one cannot be imported.
    """
    for entry in entry_points(group="nni_count.operations"):
        _load("operations", entry)


def _load(option: str, entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        module = sys.modules.get(entry.module.partition(".")[0])
        where = getattr(module, "__file__", None) or "nothing"
        raise SettingError(
            f"{option} {entry.name}: {entry.value} cannot be loaded ({error}); found {where} in its place: "
            "another package of that name? Remove it, or change into another folder"
        ) from error


def _by_path(option: str, path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingError(
            f"{option} {path}: cannot be imported ({error}); install the package that has it, or put its folder on "
            "PYTHONPATH"
        ) from error


def path_of(thing: type) -> str:
    """The dotted path by which a class is found again."""
    return f"{thing.__module__}.{thing.__qualname__}"
