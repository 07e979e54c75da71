"""Recipes side by side: what is given, what is kept, and the table."""

import json
import sys

import pytest

from benchmarks import recipes
from benchmarks.recipes import BASE, RECIPES, report, settings


def test_what_a_recipe_says_takes_the_place_of_what_all_have():
    for recipe in RECIPES:
        given = settings(recipe)
        assert given.count("--learning_rate") == 1
        assert given[given.index("--learning_rate") + 1] == (
            recipe.rpartition("rate ")[2][:4] if "rate " in recipe else "4e-3"
        )


def test_differences_are_those_on_the_same_seeds():
    row = {"minutes": 5, "steps": 100}
    figures = {BASE: (100, 80, 120), "bayesian": (90, 72)}
    rows = [
        {**row, "recipe": recipe, "seed": seed, "validation_mae": figure}
        for recipe, of in figures.items()
        for seed, figure in enumerate(of)
    ]
    first, second = report(rows).splitlines()[2:]
    assert first == f"| {BASE} | 3 | 100.0 |  | 100 |"
    assert second == "| bayesian | 2 | 81.0 | -10.0% (-10.0% to -10.0%) | 100 |"


def test_what_ended_is_kept_and_what_failed_is_said(shanghaitech, tmp_path, monkeypatch, capsys):
    small = "--crop_size 32 --batch_size 2 --accelerator cpu --precision 32-true"
    monkeypatch.setattr(recipes, "RECIPES", {BASE: small, "wrong": f"{small} --loss nothing"})
    rows = tmp_path / "rows"
    call = f"recipes run --data {shanghaitech} --rows {rows} --minutes 0.05 --seeds 1 --processes 1"
    monkeypatch.setattr(sys, "argv", call.split())
    recipes.main()
    said = capsys.readouterr()
    assert "wrong, seed 0: " in said.err
    assert "nothing" in said.err
    (file,) = rows.iterdir()
    row = json.loads(file.read_text())
    assert row["steps"] > 0
    assert f"| {BASE} | 1 | {row['validation_mae']:.1f} |" in said.out
    before = file.stat().st_mtime_ns
    recipes.main()
    assert file.stat().st_mtime_ns == before
    with pytest.raises(SystemExit):
        monkeypatch.setattr(sys, "argv", ["recipes", "print"])
        recipes.main()
