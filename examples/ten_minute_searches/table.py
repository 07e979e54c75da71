"""Print what searches found, and how far they had decided: one run folder of ``nni-count search`` a strategy.

Run from the project's folder: python -m examples.ten_minute_searches.table [runs/searches/*] [--write]

Without folders it prints ``results.json``, which ``--write`` makes from them.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from examples.kept_table import print_table
from nni_count.architecture import read_architecture
from nni_count.networks import create, number_of_parameters

RESULTS = Path(__file__).with_name("results.json")
NOTHING = "–"


def collect(folder: Path) -> dict[str, Any]:
    """The figures of one search, and the cells that it found."""
    architecture = read_architecture(folder / "architecture.yaml")
    with open(folder / "metrics.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get("validation_mae")]
    found = architecture.to_dict()
    return {
        "strategy": architecture.provenance["strategy"].rpartition(".")[2],
        "epochs": architecture.provenance["epochs"],
        "entropy": [float(row["alpha_entropy"]) for row in (rows[0], rows[-1]) if row.get("alpha_entropy")],
        **{f"changed_{name}": changed(rows, name) for name in ("alpha", "beta")},
        "parameters": number_of_parameters(create("amsnet", architecture)),
        **{part: found[part] for part in ("extraction", "fusion", "pooling")},
    }


def changed(rows: list[dict[str, str]], name: str) -> list[int]:
    """Of how many choices another candidate is strongest in the end than after the first epoch, and of how many."""
    labels = sorted({column.rsplit("/", 1)[0] for column in rows[0] if column.startswith(f"{name}/")})

    def strongest(row: dict[str, str], label: str) -> str:
        return max((column for column in row if column.startswith(f"{label}/")), key=lambda column: float(row[column]))

    return [sum(strongest(rows[0], label) != strongest(rows[-1], label) for label in labels), len(labels)]


def cell(nodes: dict[Any, dict[Any, str]]) -> str:
    """A cell in a line: each edge as its two nodes and its operation."""
    return "; ".join(
        f"{source}→{node} {operation}" for node, edges in nodes.items() for source, operation in edges.items()
    )


def table(results: list[dict[str, Any]]) -> str:
    """The figures, then what was found, as Markdown."""
    lines = [
        "| strategy | epochs | entropy of α | operations changed | edges changed | parameters |",
        "|---|---|---|---|---|---|",
    ]
    for found in results:
        entropy = " → ".join(f"{value:.3f}" for value in found["entropy"]) or NOTHING
        changes = [
            f"{some} of {most}" if most else NOTHING for some, most in (found["changed_alpha"], found["changed_beta"])
        ]
        lines.append(
            f"| {found['strategy']} | {found['epochs']} | {entropy} | {' | '.join(changes)} | {found['parameters']:,} |"
        )
    lines += ["", "| strategy | extraction | fusion | pyramid |", "|---|---|---|---|"]
    for found in results:
        parts = (cell(found["extraction"]), cell(found["fusion"]), ", ".join(found["pooling"]))
        lines.append(f"| {found['strategy']} | {' | '.join(parts)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print_table(__doc__, RESULTS, lambda folder: [collect(folder)], table)
