"""The picture of the house is that of the code: its rooms are what there is, its arrows what imports what.

A room is a file or folder at the top of ``nni_count``, or one of the packages beside it. The picture leaves out an
arrow that others imply, so it is the transitive reduction of the imports.
"""

import ast
import re
from graphlib import TopologicalSorter

from docs.pages import ROOT, blocks, tables

PAGE = ROOT / "docs" / "how_it_works.md"
PACKAGES = ("nni_count", "search_spaces", "strategies")


def room_of(path):
    """The room of a dotted path, as a list of names; None for what belongs to no package, and ``nni_count`` itself."""
    if path[0] not in PACKAGES:
        return None
    return path[0] if path[0] != "nni_count" else ([*path, None])[1]


def imported(file):
    """The dotted paths that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".") for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield from ([*str(node.module).split("."), name.name] for name in node.names)


def house():
    """Room → the rooms that it imports."""
    found = {}
    for file in (file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        room = room_of([part for part in file.relative_to(ROOT).with_suffix("").parts if part != "__init__"])
        if room is not None:
            found.setdefault(room, set()).update({room_of(path) for path in imported(file)} - {room, None})
    return {room: others & found.keys() for room, others in found.items()}  # the package's own names are no rooms


def needed(house):
    """The arrows that no others imply; a CycleError where there is a circle."""
    below = {}
    for room in TopologicalSorter(house).static_order():
        below[room] = house[room].union(*(below[other] for other in house[room]))
    return {
        (room, other)
        for room, others in house.items()
        for other in others
        if not any(other in below[between] for between in others)
    }


def test_the_picture_shows_the_rooms_and_the_arrows_that_there_are():
    (picture,) = blocks(PAGE, "mermaid")
    arrows = needed(house())
    drawn = set(re.findall(r"^ +(\w+) --> (\w+)$", picture, re.M))
    assert len(picture.splitlines()) == 1 + len(drawn)
    assert drawn == arrows, "\n".join(f"    {one} --> {other}" for one, other in sorted(arrows))
    assert {room for arrow in drawn for room in arrow} == set(house())


def test_the_table_lists_every_room_above_those_that_it_imports():
    listed = [name for row in tables(PAGE) for name in re.findall(r"^`(\w+?)(?:\.py|/)?`$", row[0])]
    found = house()
    assert sorted(listed) == sorted(found)
    upward = [(room, other) for room in found for other in found[room] if listed.index(room) > listed.index(other)]
    assert upward == []


def test_the_toolkit_imports_neither_spaces_nor_strategies():
    found = house()
    assert not {room for room in found if {"search_spaces", "strategies"} & found[room]}
    assert found["errors"] == set()


def test_a_circle_is_found():
    import graphlib

    import pytest

    with pytest.raises(graphlib.CycleError):
        needed({"data": {"tasks"}, "tasks": {"data"}})
    assert needed({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {("a", "b"), ("b", "c")}
