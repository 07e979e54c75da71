"""The house keeps its plan: few rooms, few floors, arrows one way, short files and signatures."""

import ast
import io
import tokenize
from functools import cache

from docs.pages import ROOT
from docs.test_how_it_works import PACKAGES, house

FILES = sorted(file for package in (*PACKAGES, "benchmarks") for file in (ROOT / package).rglob("*.py"))
DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def test_few_rooms_on_few_floors_and_every_arrow_points_down():
    rooms = house()

    @cache
    def floor(room):
        return 1 + max((floor(other) for other in rooms[room]), default=0)  # a circle would never end

    assert len(rooms) <= 20
    assert max(map(floor, rooms)) <= 8
    assert not rooms["errors"] | rooms["metrics"] | rooms["ops"]
    assert not any({"search_spaces", "strategies"} & below for below in rooms.values())
    assert not any("cli" in below for below in rooms.values())


def test_no_file_is_long_and_no_function_takes_many_settings():
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 250, file
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                taken = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                assert len([name for name in taken if name not in ("self", "cls")]) <= 14, f"{file}: {node.name}"


def test_the_packages_do_not_grow_unnoticed():
    """Lines of code, without blank ones, comments and docstrings; whoever needs more deletes elsewhere first."""
    assert sum(lines_of_code(file) for file in FILES if file.relative_to(ROOT).parts[0] in PACKAGES) < 18_500


def lines_of_code(file):
    text = file.read_text(encoding="utf-8")
    left_out = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, DEFINITIONS) and ast.get_docstring(node, clean=False) is not None:
            left_out |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    nothing = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = (token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in nothing)
    return len({line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - left_out)
