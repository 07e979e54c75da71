"""Spaces, strategies, tasks … by name: those of installed packages through entry points, others by dotted path."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from nni_count.errors import SettingError

#: entry-point groups by the option whose names they give, and by the registry that they add to
GROUPS = {
    "space": "nni_count.search_spaces",
    "strategy": "nni_count.strategies",
    "task": "nni_count.tasks",
    "losses": "nni_count.losses",
    "networks": "nni_count.networks",
    "readers": "nni_count.readers",
    "operations": "nni_count.operations",
    "metrics": "nni_count.metrics",
    "commands": "nni_count.commands",
    "proxies": "nni_count.proxies",
}


class Entries(Mapping[str, Any]):
    """What installed packages add to a group, and what is ours, by name; each is imported when it is first asked for.

    Args:
        group: one of :data:`GROUPS`, or the name of a registry that nobody adds to.
        own: name → ``module:object``, ours, which come first.
    """

    def __init__(self, group: str, own: Mapping[str, str] | None = None):
        self.group = group
        self.own = {name: EntryPoint(name, where, group) for name, where in (own or {}).items()}

    @cached_property
    def found(self) -> dict[str, EntryPoint]:
        others = {entry.name: entry for entry in _installed(*sys.path).select(group=GROUPS.get(self.group, ""))}
        return {**self.own, **others, **self.own}

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, name: str) -> Any:
        entry = self.found[name]
        try:
            return entry.load()
        except (ImportError, AttributeError) as error:
            module = sys.modules.get(entry.module.partition(".")[0])
            where = getattr(module, "__file__", None) or "nothing"
            raise SettingError(
                f"{self.group} {name}: {entry.value} cannot be loaded ({error}); found {where} in its place: "
                "another package of that name? Remove it, or change into another folder"
            ) from error


@cache
def _installed(*path: str) -> Any:
    """What all packages on Python's path bring; looking into each of them takes a moment."""
    return entry_points()


def entries(group: str) -> MutableMapping[str, Any]:
    """What installed packages add to a registry, the second part of ``ChainMap({"mse": …}, entries("losses"))``."""
    return cast(MutableMapping[str, Any], Entries(group))  # a ChainMap writes to its first part alone


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
    found = Entries(option)
    if name not in found:
        raise SettingError(f"{option}: {name!r} is unknown; known: {', '.join(found)}; or give a dotted path")
    return found[name]


def _by_path(option: str, path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError, SyntaxError) as error:
        raise SettingError(
            f"{option} {path}: cannot be imported ({error}); install the package that has it, or put its folder on "
            "PYTHONPATH"
        ) from error


def named_by_file(option: str, path: Any, kind: type) -> type:
    """The class that a file names: an entry point of an installed package, or of a module that is imported already.
    For a file's sake nothing is imported, and nothing called.

    Args:
        option: ``space``, ``strategy`` or ``task``.
        path: dotted, as the file has it.
        kind: what it must be a subclass of.

    Raises:
        SettingError: there is none, or it is something else.
    """
    module, _, name = str(path).rpartition(".")
    thing = vars(sys.modules[module]).get(name) if module in sys.modules else None
    if thing is None:
        top = module.partition(".")[0]
        entries = Entries(option)
        ours = [entries[name] for name, entry in entries.found.items() if entry.module.partition(".")[0] == top]
        thing = next((one for one in ours if f"{one.__module__}.{one.__qualname__}" == path), None)
    if thing is None:
        raise SettingError(
            f"{option} {path}: neither of an installed package nor imported, and nothing is imported because a file "
            f"names it; where you know it, give --{option}_class {path}, or import it before"
        )
    if not (isinstance(thing, type) and issubclass(thing, kind)):
        raise SettingError(f"{option} {path}: is no {kind.__name__}; the file was made by somebody else, or is damaged")
    return thing
