"""``nni-count decode``: another architecture out of a search that was made."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
import yaml

from nni_count.architecture import Architecture
from nni_count.errors import RunError
from nni_count.runs.run import Run, open_run
from nni_count.searching.cost import Cost, cost_table
from nni_count.searching.decoding import strongest, write
from nni_count.searching.space import RULES, Space
from nni_count.training.settings import check_choice


def decode(*, run: str | Path, out: str | Path, rule: str = "paper", cost: Cost | None = None) -> Architecture:
    """Read another architecture out of a search that was made, without searching again.

    Args:
        run: the run folder of a search; its last whole epoch is read.
        out: run folder; gets ``architecture.yaml`` and ``cells.png``.
        rule: ``paper``: edges by β, operations by α; ``joint``: edges by β × their best real operation, and that one.
        cost: a budget that the architecture keeps to.

    Returns:
        The architecture that stands in ``architecture.yaml``.

    Raises:
        RunError: the folder holds no search with a whole epoch.
        SettingError: the rule is unknown or does not fit the strategy, or no architecture is within the budget.
    """
    check_choice("rule", rule, RULES)
    searched = Run(Path(run))
    space = _space(searched)
    found = _found(searched)
    table = cost_table(space, cost) if cost else None
    architecture = strongest(space, found["sample"], found["probabilities"], found["provenance"], rule, table)
    write(architecture, open_run(out, "decode", {"run": run, "rule": rule, "cost": cost}))
    return architecture


def _space(run: Run) -> Space:
    """The space that a run searched, built anew."""
    try:
        configuration = yaml.safe_load((run.folder / "config.yaml").read_text(encoding="utf-8"))
        module, _, name = configuration["space"]["class_path"].rpartition(".")
        space: Space = getattr(importlib.import_module(module), name)(**configuration["space"].get("init_args", {}))
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise RunError(f"{run.folder}: holds no run of a search ({error}); give the folder of one") from error
    except (ImportError, AttributeError) as error:
        raise RunError(f"{run.folder}: its space cannot be loaded ({error}); install the package it is from") from error
    return space


def _found(run: Run) -> dict[str, Any]:
    """What the search's own callback kept of the last whole epoch."""
    try:
        checkpoint = torch.load(run.last_checkpoint, map_location="cpu", weights_only=True)
        found: dict[str, Any] = checkpoint["callbacks"]["AfterEpoch"]["found"]
    except (OSError, RuntimeError, KeyError, EOFError) as error:
        raise RunError(f"{run.last_checkpoint}: no checkpoint of a search; give the folder of one") from error
    if not found:
        raise RunError(f"{run.folder}: stopped before the end of its first epoch; continue it with --resume")
    return found
