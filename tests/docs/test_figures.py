"""Figures that stand in two places are the same, and tables that a command prints stand as it prints them."""

import json
import re
import runpy
import sys

import pytest
from docs.pages import ROOT, name_of, tables

from examples.cells import table as cells
from examples.ten_minute_searches import table as ten_minutes
from nni_count.cli import main

EXAMPLES = ROOT / "examples"
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
README = ROOT / "README.md"


def linked(row):
    """The example's page to which a row leads, as a path."""
    found = re.search(r"\((examples/\w+/README\.md)[^)]*\)", row[-1])
    return ROOT / found[1] if found else None


def numbers(text):
    return NUMBER.findall(re.sub(r"\(\S*README\S*\)", "", text))


SHORT_ROWS = [row for row in tables(README) if linked(row)]


def test_the_readme_has_figures():
    assert len(SHORT_ROWS) >= 6


@pytest.mark.parametrize("row", SHORT_ROWS, ids=lambda row: row[1])
def test_a_figure_of_the_readme_stands_where_its_row_leads(row):
    known = set(numbers(linked(row).read_text(encoding="utf-8")))
    for cell in row[1:3]:
        assert [number for number in numbers(cell) if number not in known] == []


def test_factors_of_speed_are_those_of_the_benchmarks():
    known = (ROOT / "benchmarks" / "README.md").read_text()
    for page in (ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "strategies.md"):
        factors = re.findall(r"[\d.,]+ ×", page.read_text())
        assert len(factors) >= 3
        assert [factor for factor in factors if factor not in known] == [], name_of(page)


def printed(text):
    """The rows of a printed table, as cells."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_the_tables_of_examples_are_what_their_commands_print(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["table.py"])
    runpy.run_path(str(EXAMPLES / "shanghaitech" / "table.py"), run_name="__main__")
    shown = {"shanghaitech": capsys.readouterr().out}
    for name, module in (("cells", cells), ("ten_minute_searches", ten_minutes)):
        shown[name] = module.table(json.loads((EXAMPLES / name / "results.json").read_text()))
    for name, text in shown.items():
        rows = printed(text)
        assert len(rows) > 4
        there = tables(EXAMPLES / name / "README.md")
        assert [row for row in rows if row not in there] == []


def test_the_comparison_is_what_the_kept_runs_give(tmp_path, capsys):
    runs = sorted((EXAMPLES / "compare_strategies" / "shanghaitech").iterdir())
    there = tables(EXAMPLES / "compare_strategies" / "README.md")
    assert main(["compare", *map(str, runs), "--out", str(tmp_path / "out")]) == 0
    rows = printed(capsys.readouterr().out)
    assert len(rows) == 6
    assert [row for row in rows if row not in there] == []
