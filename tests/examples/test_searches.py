"""The table of searches says what their run folders say."""

import csv

import pytest
from conftest import random_architecture

from examples.ten_minute_searches import table
from nni_count.architecture import write_architecture

ROWS = [
    {"epoch": 0, "validation_mae": 90.0, "alpha_entropy": 1.0, "alpha/a/skip": 0.6, "alpha/a/none": 0.4,
     "alpha/b/skip": 0.6, "alpha/b/none": 0.4, "beta/n/0": 0.3, "beta/n/1": 0.7},
    {"epoch": 0, "weights": 0.5},
    {"epoch": 1, "validation_mae": 80.0, "alpha_entropy": 0.9, "alpha/a/skip": 0.3, "alpha/a/none": 0.7,
     "alpha/b/skip": 0.7, "alpha/b/none": 0.3, "beta/n/0": 0.4, "beta/n/1": 0.6},
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    architecture = random_architecture(0)
    architecture.provenance.update(strategy="strategies.DARTS", epochs=2)
    architecture.network.update(width=16)
    write_architecture(architecture, tmp_path / "architecture.yaml")
    with open(tmp_path / "metrics.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, sorted({name for row in ROWS for name in row}))
        writer.writeheader()
        writer.writerows(ROWS)
    return tmp_path


def test_a_search_is_a_row_with_what_changed(folder):
    found = table.collect(folder)
    assert (found["entropy"], found["changed_alpha"], found["changed_beta"]) == ([1.0, 0.9], [1, 2], [0, 1])
    assert "| DARTS | 2 | 1.000 → 0.900 | 1 of 2 | 0 of 1 |" in table.table([found])
    node, edges = next(iter(found["fusion"].items()))
    source, operation = next(iter(edges.items()))
    assert f"{source}→{node} {operation}" in table.table([found])
