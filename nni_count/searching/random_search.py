"""Random search: architectures drawn from a space, each trained briefly. What every other strategy must beat."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from nni_count.architecture import Architecture, read_architecture, write_architecture
from nni_count.commands.retrain import retrain
from nni_count.data.dataset import Dataset
from nni_count.errors import SettingError
from nni_count.runs.files import write_text
from nni_count.runs.run import can_resume, open_run
from nni_count.runs.tables import write_table
from nni_count.searching.nni import ModelSpace
from nni_count.searching.space import Space


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
    data: Dataset,
    space: ModelSpace,
    out: str | Path,
    seconds: float | None = None,
    evaluations: int | None = None,
    seed: int = 0,
    retrain_settings: dict[str, Any] | None = None,
    after: Callable[[dict[str, float]], None] | None = None,
    resume: bool = False,
) -> Architecture:
    """Draw architectures, train each, and keep the one that does best on the trainer's validation part.

    Another one is begun while, by the mean time of those before, half of it or more fits into what is left.

    Args:
        data: its training part is used.
        space: what is drawn from.
        out: folder; gets ``architecture.yaml`` of the best, ``evaluations.csv`` and a run folder for each.
        seconds: time to search; at least one architecture is evaluated.
        evaluations: most architectures to evaluate.
        seed: of the draws; the training has it too.
        retrain_settings: of the short trainings, as :func:`nni_count.retrain` takes them.
        after: called after each evaluation with its ``metric`` and ``seconds``, and the ``best`` so far.
        resume: continue the search in ``out``; evaluations that are whole are not done again.

    Raises:
        SettingError: there is neither a time nor a number.
    """
    if seconds is None and evaluations is None:
        raise SettingError("random search: give seconds, evaluations, or both")
    settings = {"seed": seed, "retrain_settings": retrain_settings}  # a resumed search may be given more time
    run = open_run(out, "random search", settings, resume=resume, checkpointed=False)
    generator = np.random.RandomState(seed)
    rows: list[dict[str, Any]] = []
    while evaluations is None or len(rows) < evaluations:
        spent = sum(row["seconds"] for row in rows)
        if rows and seconds is not None and spent + spent / len(rows) / 2 > seconds:
            break
        architecture = draw(space, generator)
        rows.append(
            _evaluate(architecture, data, run.folder / f"{len(rows):03}", {**(retrain_settings or {}), "seed": seed})
        )
        best = (max if rows[-1]["larger_is_better"] else min)(rows, key=lambda row: row["metric"])
        if best is rows[-1]:
            write_architecture(architecture, run.folder / "architecture.yaml")
        write_table(run.folder / "evaluations.csv", [{"evaluation": number, **row} for number, row in enumerate(rows)])
        if after:
            after({**rows[-1], "best": best["metric"]})
    return read_architecture(run.folder / "architecture.yaml")


def _evaluate(architecture: Architecture, data: Dataset, folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Train an architecture, or read what came of it before an interruption."""
    done = folder / "evaluation.json"
    if not done.is_file():
        start = time.perf_counter()
        model = retrain(data=data, architecture=architecture, out=folder, resume=can_resume(folder), **settings)
        row = {
            "metric": model.facts[f"validation_{model.task.main_metric}"],
            "larger_is_better": model.task.larger_is_better,
            "parameters": model.parameters,
            "seconds": time.perf_counter() - start,
        }
        write_text(done, json.dumps(row))
    answer: dict[str, Any] = json.loads(done.read_text())
    return answer
