"""Decoding: what a search has learned becomes an architecture, by one rule or another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nni_count.architecture import Architecture, write_architecture
from nni_count.pictures.cells import draw_cells
from nni_count.runs.run import Run
from nni_count.searching.cost import CostTable
from nni_count.searching.nni import Probabilities
from nni_count.searching.space import PERTURBATION, Space


def strongest(
    space: Space,
    sample: Mapping[str, Any],
    probabilities: Probabilities,
    provenance: Mapping[str, Any],
    rule: str = "paper",
    table: CostTable | None = None,
) -> Architecture:
    """The architecture that a rule reads from a strategy's sample and probabilities, and that keeps to a budget.

    Those of a perturbation are read as the paper reads those of α and β.
    """
    provenance = {**provenance, "decode": rule}
    architecture = space.architecture(sample, probabilities, provenance, "paper" if rule == PERTURBATION else rule)
    if table is None:
        return architecture
    own = space.sample(architecture)
    cheap = table.within_budget(own, probabilities)
    replaced = [f"{label}: {own[label]} → {cheap[label]}" for label in cheap if cheap[label] != own[label]]
    provenance["cost"] = {
        "of": table.cost.of,
        "network": dict(table.cost.network),
        "budget": table.cost.budget,
        "value": table.of(cheap),
        "replaced_to_fit": replaced,
    }
    return space.architecture(cheap, None, provenance)


def write(architecture: Architecture, run: Run) -> None:
    """``architecture.yaml`` and ``cells.png`` of a run folder, each whole or not at all."""
    write_architecture(architecture, run.folder / "architecture.yaml")
    draw_cells(architecture, run.folder / "cells.png")
