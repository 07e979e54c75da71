"""The settings that a call gives, and what is wrong with them: all of it at once, before anything heavy is imported."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from nni_count.cli.help import NAMED, Row, known_names, rows
from nni_count.cli.sources import find, settings
from nni_count.errors import SettingError
from nni_count.plugins import GROUPS
from nni_count.runs.plain import parse_yaml, read_yaml
from nni_count.training.names import HEADS, dotted

HOME = re.compile(r"(?:^|(?<=[=\[{,:\s]))~[\w-]*(?=/)")


def at_home(value: Any) -> Any:
    """A value in which every path from ``~`` begins with the home folder, as shells write it where they see it."""
    if isinstance(value, dict):
        return {name: at_home(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [at_home(inner) for inner in value]
    return HOME.sub(lambda found: os.path.expanduser(found[0]), value) if isinstance(value, str) else value


def read_configuration(path: Path) -> dict[str, Any]:
    """The settings of a configuration file as they stand there, but for paths from ``~``."""
    try:
        found = read_yaml(path)
    except (OSError, ValueError) as error:
        raise SettingError(
            f"config: {path}: cannot be read as YAML ({error}); give a file of settings, such as the config.yaml of a "
            "run"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise SettingError(f"config: {path}: holds no settings by name; give a file such as the config.yaml of a run")
    settings: dict[str, Any] = at_home(found)
    return settings


def given(options: Sequence[str]) -> dict[str, Any]:
    """The settings of options and of configurations, by the names under which they stand there."""
    return {name: value for _, name, value in _placed(options)}


def pairs(options: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The name and the value of each option; ``true`` where it has none."""
    for option, after in zip(options, [*options[1:], "--"], strict=False):
        key, equals, value = option.partition("=")
        if key.startswith("--"):
            yield key[2:], value if equals else ("true" if after.startswith("--") else after)


def _placed(options: Sequence[str]) -> Iterator[tuple[str, str, Any]]:
    """Where each setting stands (a configuration's path, or nothing for the command line), its name and its value."""
    for name, value in pairs(options):
        if name == "config":
            yield from ((value, inner, found) for inner, found in _flat(read_configuration(Path(value))))
        else:
            yield "", name, value


def _twice(placed: Sequence[tuple[str, str, Any]], own: Container[str]) -> Iterator[str]:
    """Settings that stand in one place under two names, of which one would be lost."""
    by_meaning: dict[tuple[str, str], set[str]] = {}
    for place, name, _ in placed:
        by_meaning.setdefault((place, dotted(name, own)), set()).add(name)
    for same in by_meaning.values():
        if len(same) > 1:
            yield f"{' and '.join(sorted(same))}: are one setting; give one of them"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict) and isinstance(value.get("class_path"), str):
            yield prefix + name, value["class_path"]
            value = value.get("init_args")
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + str(name), value


def check(function: str, options: Sequence[str]) -> list[str]:
    """The names of the settings that a call gives.

    Args:
        function: the dotted path of the command's function.
        options: of the command line.

    Raises:
        SettingError: naming all values that are outside the ranges beside their settings, and all unknown names.
    """
    placed, thing = [*_placed(options)], find(function)
    found = {name: value for _, name, value in placed}
    if thing is None:  # another package's, which says itself what it takes
        return [*found]
    own = settings(thing)
    told = rows(function, [f"--{name}={value}" for name, value in found.items()])
    known = {dotted(row.name, own): row for row in told}
    names = [row.name for row in told]
    faults = [fault for name, value in found.items() if (fault := _fault(name, value, known.get(dotted(name, own))))]
    for name in found.keys() - {*names}:
        # behind a dot, a class of somebody else's may take more than its source says
        if "." not in name and dotted(name, own) not in known and (close := get_close_matches(name, names, 1, 0.8)):
            faults.append(f"--{name}: unknown; did you mean --{close[0]}?")
    if faults := [*faults, *_twice(placed, own)]:
        raise SettingError("; ".join(faults))
    return [*found]


def _fault(name: str, value: Any, row: Row | None) -> str | None:
    option = next((option for option in NAMED if name in (option, f"{option}.{HEADS.get(option)}")), None)
    if option in GROUPS or option == "network":
        known = known_names(option)
        if isinstance(value, str) and not {"."} & {*value} and value[:1] not in ("{", "") and value not in known:
            path = "; or give a dotted path" if option in GROUPS else ""
            return f"{name}: {value!r} is unknown; known: {', '.join(known)}{path}"
    if row is None or row.range is None or (number := _number(value)) is None:
        return None
    if row.range.holds(number, "whole number" in row.kind):
        return None
    return f"{name}: {value}; {row.range}".replace("a number", "a whole number" if "whole" in row.kind else "a number")


def _number(value: Any) -> Any:
    """What a text of the command line is, as far as numbers go."""
    try:
        found = parse_yaml(value) if isinstance(value, str) else value
        return float(found) if isinstance(found, str) else found
    except ValueError:
        return value


def by_given_name(message: str, names: Sequence[str]) -> str:
    """A message about a setting by the name under which the call gave it."""
    head, colon, rest = message.partition(":")
    last = head.rpartition(".")[2]
    same = [name for name in names if dotted(name, ()) == dotted(head, ()) or name.rpartition(".")[2] == last]
    return f"{same[0]}{colon}{rest}" if len(same) == 1 and " " not in head else message
