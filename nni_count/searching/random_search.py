"""Random search: architectures drawn from a space, each trained briefly. What every other strategy must beat."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np

from nni_count.architecture import Architecture, read_architecture, write_architecture
from nni_count.model import Model
from nni_count.runs.ranges import Range, check
from nni_count.runs.run import open_run
from nni_count.runs.states import read_state, write_state
from nni_count.runs.tables import write_table
from nni_count.searching.nni import ModelSpace
from nni_count.searching.space import Space


@dataclass(frozen=True)
class RandomBudget:
    """How long architectures are drawn and trained briefly, one after another.

    Args:
        seconds: time to search, in seconds; at least one architecture is evaluated.
        evaluations: most architectures to evaluate.
        steps: of each short training.
    """

    seconds: Annotated[float, Range(0)] | None = None
    evaluations: Annotated[int, Range(1)] | None = None
    steps: Annotated[int, Range(1)] = 100

    def __post_init__(self) -> None:
        check(RandomBudget, vars(self), "random.")


def draw(space: ModelSpace, generator: np.random.RandomState) -> Architecture:
    """An architecture of the space, every choice drawn evenly."""
    sample: dict[str, Any] = {}
    for choice in space.simplify().values():
        choice.random(sample, generator)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*the node gives zeros")  # a draw may well be a bad one
        return cast(Space, space).architecture(sample, provenance={"strategy": "random"})


def random_search(
    *,
    space: ModelSpace,
    train: Callable[[Architecture, Path], Model],
    out: str | Path,
    budget: RandomBudget,
    settings: Mapping[str, Any],
    seed: int = 0,
    after: Callable[[dict[str, float]], None] | None = None,
    resume: bool = False,
) -> Architecture:
    """Draw architectures, train each, and keep the one that does best on the trainer's validation part.

    Another one is begun while, by the mean time of those before, half of it or more fits into what is left.

    Args:
        space: what is drawn from.
        train: trains an architecture in a run folder, or goes on where that was interrupted.
        out: folder; gets ``architecture.yaml`` of the best, ``evaluations.csv`` and a run folder for each.
        budget: how long to search.
        settings: of the short trainings, for ``config.yaml``.
        seed: of the draws.
        after: called after each evaluation with its ``metric`` and ``seconds``, and the ``best`` so far.
        resume: continue the search in ``out``; evaluations that are whole are not done again.
    """
    # a resumed search may be given more time
    described = {"seed": seed, "retrain": settings}
    with open_run(out, "random search", described, resume=resume, checkpointed=False) as run:
        generator = np.random.RandomState(seed)
        rows: list[dict[str, Any]] = []
        while budget.evaluations is None or len(rows) < budget.evaluations:
            spent = sum(row["seconds"] for row in rows)
            if rows and budget.seconds is not None and spent + spent / len(rows) / 2 > budget.seconds:
                break
            architecture = draw(space, generator)
            rows.append(_evaluate(architecture, train, run.folder / f"{len(rows):03}"))
            best = (max if rows[-1]["larger_is_better"] else min)(rows, key=lambda row: row["metric"])
            if best is rows[-1]:
                write_architecture(architecture, run.folder / "architecture.yaml")
            write_table(
                run.folder / "evaluations.csv", [{"evaluation": number, **row} for number, row in enumerate(rows)]
            )
            if after:
                after({**rows[-1], "best": best["metric"]})
        return read_architecture(run.folder / "architecture.yaml")


def _evaluate(architecture: Architecture, train: Callable[[Architecture, Path], Model], folder: Path) -> dict[str, Any]:
    """Train an architecture, or read what came of it before an interruption."""
    done = folder / "evaluation.json"
    if not done.is_file():
        start = time.perf_counter()
        model = train(architecture, folder)
        row = {
            "metric": model.facts[f"validation_{model.task.main_metric}"],
            "larger_is_better": model.task.larger_is_better,
            "parameters": model.parameters,
            "seconds": time.perf_counter() - start,
        }
        write_state(done, row)
    return read_state(done, "metric", "larger_is_better", "parameters", "seconds")
