"""Plain data that anybody may have written: YAML and JSON, bounded before they are parsed. Nothing is made of them but
text, numbers, truth values, lists and mappings.
"""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = {"YAML": 1 << 20, "JSON": 64 << 20}
MOST_VALUES = 100_000  # of a YAML file, aliases counted as what they stand for
DEEPEST = 40  # levels of values
LONGEST_NUMBER = 60  # characters: more digits take time that grows with their square

_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Plain(_Safe):
    """Makes plain values: no dates, sets or bytes, nor numbers of thousands of digits, nor a key twice."""

    def flatten_mapping(self, node: Any) -> None:
        """Called for every mapping; afterwards the keys that it merges (``<<``) stand among its own."""
        if not hasattr(node, "keys_are_checked"):
            seen: set[tuple[str, str]] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if (key.tag, key.value) in seen:
                        problem = f"the key {key.value[:40]!r} occurs twice"
                        raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                    seen.add((key.tag, key.value))
            node.keys_are_checked = True
        super().flatten_mapping(node)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _number(loader: Any, node: yaml.ScalarNode) -> Any:
    if len(node.value) > LONGEST_NUMBER:
        raise yaml.constructor.ConstructorError(None, None, "a number of too many digits", node.start_mark)
    if ":" in node.value:
        return node.value  # a duration, which YAML 1.1 takes for a number to the base of sixty
    if re.fullmatch(r"[-+]?0[0-9_]+", node.value):
        return int(node.value)  # as on the command line, and not to the base of eight
    return _Safe.yaml_constructors[node.tag](loader, node)


def _refuse(loader: Any, node: yaml.Node) -> Any:
    kind = node.tag.rpartition(":")[2]
    raise yaml.constructor.ConstructorError(
        None, None, f"{kind} is no plain value; write it as text, in quotes", node.start_mark
    )


_TAG = "tag:yaml.org,2002:"
_Plain.yaml_constructors = {
    **{_TAG + kind: _Safe.yaml_constructors[_TAG + kind] for kind in ("null", "bool", "str", "seq", "map")},
    **{_TAG + kind: _number for kind in ("int", "float")},
    None: _refuse,
}


def check_file(path: str | Path) -> None:
    """Refuse a pipe or a device, which would be read for ever, with a ValueError."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # what a folder is, its opening says
        raise ValueError("is a pipe or a device, no file")


def read_yaml(path: str | Path) -> Any:
    """The plain values of a YAML file; raises as :func:`parse_yaml`, and an OSError where it cannot be read."""
    return parse_yaml(read_text(path))


def read_json(path: str | Path) -> Any:
    """What a JSON file holds; a ValueError where it is none or too large, an OSError where it cannot be read."""
    return parse_json(read_text(path, "JSON"))


def read_text(path: str | Path, kind: str = "YAML") -> str:
    """The text of a file (UTF-8); a ValueError where it is none or too large, an OSError where it cannot be read."""
    check_file(path)
    with open(path, "rb") as file:
        content = file.read(MOST_BYTES[kind] + 1)
    if len(content) > MOST_BYTES[kind]:
        raise ValueError(f"more than {MOST_BYTES[kind] >> 20} MB of {kind}")
    return content.decode("utf-8")


def parse_json(text: str) -> Any:
    """What a JSON text holds; a ValueError where it is none."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(f"more than {DEEPEST} levels of values") from None


def parse_yaml(text: str) -> Any:
    """The plain values of a YAML text.

    Raises:
        ValueError: it is no YAML, or holds more than plain values, or too many of them; naming the line.
    """
    try:
        _count(text)
        value = yaml.load(text, _Plain)
    except yaml.YAMLError as error:
        place, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or error
        raise ValueError(f"not YAML{f' at line {place.line + 1}' if place else ''}: {problem}") from error
    except (LookupError, ArithmeticError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not YAML of plain values ({error!r})") from error
    check_plain(value)
    return value


def _count(text: str) -> None:
    """Refuse a text that would become too much, from what it says alone."""
    total, open_, sizes = 0, list[tuple[str | None, int]](), dict[str | None, int]()
    for event in yaml.parse(text, _Safe):
        if isinstance(event, yaml.AliasEvent):
            total += sizes.get(event.anchor, MOST_VALUES + 1)  # not whole yet: an alias within itself
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            sizes[anchor] = total - before
        elif isinstance(event, (yaml.CollectionStartEvent, yaml.ScalarEvent)):
            total += 1
            sizes[event.anchor] = 1
            if isinstance(event, yaml.CollectionStartEvent):
                sizes.pop(event.anchor)
                open_.append((event.anchor, total - 1))
        if total > MOST_VALUES or len(open_) > DEEPEST:
            raise ValueError(f"more than {MOST_VALUES:,} values, or more than {DEEPEST} levels of them")


def dump_yaml(value: Any, **style: Any) -> str:
    """Plain values as YAML, in their order, without aliases."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, **style))


def check_plain(value: Any, place: str = "", depth: int = 0) -> None:
    """Refuse what YAML and JSON would not give back, with a ValueError that names the place."""
    if depth > DEEPEST:
        raise ValueError(f"{place[:40]} …: more than {DEEPEST} levels of values")
    if type(value) is dict:
        for key, inner in value.items():
            check_plain(key, f"{place}.{key}".lstrip("."), DEEPEST)  # no list or mapping
            check_plain(inner, f"{place}.{key}".lstrip("."), depth + 1)
    elif type(value) in (list, tuple):
        for number, inner in enumerate(value):
            check_plain(inner, f"{place}[{number}]", depth + 1)
    elif type(value) is str:
        value.encode()  # halves of a surrogate pair cannot be written
    elif type(value) is int and abs(value) >= 1 << 63:
        raise ValueError(f"{place}: a number of {value.bit_length()} bits; 63 are read")
    elif value is not None and type(value) not in (bool, int, float):
        raise ValueError(
            f"{place}: {value!r:.60} is a {type(value).__name__}; only text, numbers, truth values, lists and mappings "
            "are kept: write a date as text, in quotes"
        )
