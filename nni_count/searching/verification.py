"""Verification: what a search proposes is trained for real, briefly, and the best of it is what the search found."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nni_count.architecture import CELL_KINDS, Architecture
from nni_count.model import Model
from nni_count.pictures.verification import draw_verification
from nni_count.runs.states import read_state, write_state
from nni_count.runs.tables import write_table
from nni_count.searching.nni import Probabilities
from nni_count.searching.settings import Verification
from nni_count.tasks.judging import best_first
from nni_count.tasks.task import Task

#: of the Gumbel noise on logits of unit spread: about every second choice stays the strongest one
NOISE = 0.5

#: trains an architecture in a run folder until it has learned for so many seconds, going on where that stands
Train = Callable[[Architecture, Path, int], Model]


def perturbed(
    sample: Mapping[str, Any], probabilities: Probabilities, generator: np.random.RandomState
) -> tuple[dict[str, Any], Probabilities]:
    """A sample and probabilities as another seed of the search might have found them.

    Every α and β gets Gumbel noise in the scale of its own spread, however far a search has decided.
    """
    sample, noisy = dict(sample), {}
    for label, choices in probabilities.items():
        logits = np.log(np.fromiter(choices.values(), float).clip(1e-12))
        logits = (logits - logits.mean()) / max(logits.std(), 1e-12) + NOISE * generator.gumbel(size=len(logits))
        values = np.exp(logits - logits.max())
        noisy[label] = dict(zip(choices, (values / values.sum()).tolist(), strict=True))
        ranked = sorted(choices, key=noisy[label].__getitem__, reverse=True)
        chosen = sample.get(label)
        if isinstance(chosen, (list, tuple)):
            sample[label] = sorted(ranked[: len(chosen)])
        elif label in sample:
            sample[label] = ranked[0]
    return sample, noisy


def distinct(proposals: Iterable[Architecture], number: int) -> list[Architecture]:
    """The first so many architectures that differ; a small space may have fewer."""
    found: dict[str, Architecture] = {}
    for proposed in itertools.islice(proposals, 20 * number):
        found.setdefault(_cells(proposed), proposed)
        if len(found) >= number:
            break
    return list(found.values())


@dataclass(frozen=True)
class _Trained:
    """A candidate after a round; ``steps`` and ``seconds`` are those of all rounds so far."""

    candidate: int
    round: int
    metric: float
    steps: int
    seconds: float
    parameters: int


def verify(
    candidates: Sequence[Architecture], train: Train, folder: Path, verification: Verification, task: Task
) -> Architecture:
    """Train candidates, round after round the better half of them, and return the best.

    What is trained is not trained again when an interrupted verification is begun anew with the same candidates.

    Args:
        candidates: the search's own first.
        train: how each is trained.
        folder: gets ``candidates.csv``, ``candidates.png`` and a run folder for each candidate.
        verification: how long.
        task: whose main metric, that of the validation part, ranks them.

    Returns:
        The best, with what was verified in its provenance (``verification``).
    """
    metric = task.main_metric
    going, rows = list(range(len(candidates))), list[_Trained]()
    for number, (most, seconds) in enumerate(verification.plan, 1):
        done = [
            _trained(candidate, candidates[candidate], train, folder / f"{candidate:03}", number, seconds, metric)
            for candidate in going[:most]
        ]
        rows += done
        ranked = best_first(done, task, lambda row: row.metric)
        going = [row.candidate for row in ranked]
        table = [_row(row, metric, candidates[row.candidate]) for row in rows]
        write_table(folder / "candidates.csv", table)
        draw_verification(table, metric, folder / "candidates.png")
    best = candidates[going[0]]
    told = {
        "candidates": len(candidates),
        "seconds": round(sum({row.candidate: row.seconds for row in rows}.values()), 1),
        "chosen": going[0],
        metric: ranked[0].metric,
    }
    return replace(best, provenance={**best.provenance, "verification": told})


def _trained(
    candidate: int, architecture: Architecture, train: Train, folder: Path, round_: int, seconds: int, metric: str
) -> _Trained:
    """Train a candidate for a round, or read what came of it before an interruption."""
    done = folder / f"round_{round_}.json"
    kept = read_state(done, "cells", "row") if done.is_file() else None
    if kept is not None and kept["cells"] == _cells(architecture):
        return _Trained(**kept["row"])
    if kept is not None:  # of a search that has gone on since
        shutil.rmtree(folder)
    model = train(architecture, folder, seconds)
    row = _Trained(
        candidate,
        round_,
        float(model.facts[f"validation_{metric}"]),
        int(model.facts["steps"]),
        float(model.facts["seconds"]),
        model.parameters,
    )
    write_state(done, {"cells": _cells(architecture), "row": vars(row)})
    return row


def _row(trained: _Trained, metric: str, architecture: Architecture) -> dict[str, Any]:
    """A line of the table."""
    figures = {metric if name == "metric" else name: value for name, value in vars(trained).items()}
    return {**figures, "architecture": _cells(architecture)}


def _cells(architecture: Architecture) -> str:
    """What an architecture computes, comparable."""
    described = architecture.to_dict()
    return json.dumps({name: described[name] for name in (*CELL_KINDS, "pooling")}, sort_keys=True)
