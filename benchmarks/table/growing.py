"""The rows of the table, a file each, and the loop that trains those that are missing."""

from __future__ import annotations

import contextlib
import fcntl
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from benchmarks.table.architectures import flops, kept_architectures, parameters
from benchmarks.table.banks import Crops, Judged
from benchmarks.table.recipe import LOSS, SETS, Recipe
from benchmarks.table.training import train
from nni_count.architecture import Architecture
from nni_count.errors import RunError, SettingError
from nni_count.runs.files import write_text

SEEDS = (0, 1)
#: the first so many architectures are also trained for longer
LONGER_ONES = 20
#: after so many short trainings comes a longer one
SHORT_ONES = 40

RECIPE = "recipe.json"


@dataclass(frozen=True)
class Job:
    """A row that is to be trained."""

    architecture: int
    data: str
    seed: int
    longer: bool

    @property
    def file(self) -> str:
        return f"{self.architecture:04}-{self.data}-{self.seed}-{'longer' if self.longer else 'short'}.json"


def plan(architectures: int) -> Iterator[Job]:
    """All rows, in the order in which they are trained: whatever is there, it is of whole architectures."""
    longer = iter([Job(number, data, 0, True) for number, data in product(range(LONGER_ONES), SETS)])
    short = (Job(*row, False) for row in product(range(architectures), SETS, SEEDS))
    for place, job in enumerate(short, 1):
        yield job
        if place % SHORT_ONES == 0:
            yield from (job for job in [next(longer, None)] if job and job.architecture < architectures)


@contextlib.contextmanager
def owner(folder: Path) -> Iterator[None]:
    """Be the only one that grows a folder. Processes that are forked inside hold it as well, to their end.

    Raises:
        RunError: another one does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(f"{folder}: another process grows it; wait for it, or end it") from None
        yield


def check_recipe(folder: Path, recipe: Recipe) -> None:
    """Refuse to add rows of one recipe to those of another."""
    path, ours = (
        folder / RECIPE,
        json.loads(json.dumps({**asdict(recipe), "loss": LOSS, "sets": {k: asdict(s) for k, s in SETS.items()}})),
    )
    if not path.is_file():
        write_text(path, json.dumps(ours, indent=1))
    if json.loads(path.read_text()) != ours:
        raise RunError(f"{path}: the rows there were trained by another recipe; give another folder")


class Grower:
    """Trains rows. What they are trained on is prepared once a process."""

    def __init__(self, folder: Path, data: Path, architectures: list[Architecture], recipe: Recipe):
        self.folder, self.data, self.architectures, self.recipe = folder, data, architectures, recipe
        self.prepared = cache(self._prepare)

    def _prepare(self, name: str) -> tuple[Crops, Judged]:
        training, judging = SETS[name].parts(self.data)
        return (
            Crops(training, SETS[name].task, SETS[name].augmentation, self.recipe),
            Judged(judging, SETS[name].task, self.recipe),
        )

    def row(self, job: Job) -> dict[str, Any]:
        """Train one, as often as its data set takes, and write its file whole."""
        crops, judged = self.prepared(job.data)
        of = SETS[job.data]
        recipe = self.recipe.longer if job.longer else self.recipe
        architecture = self.architectures[job.architecture]
        seeds = range(of.trainings * job.seed, of.trainings * (job.seed + 1))
        row = {
            **asdict(job),
            "parameters": parameters(architecture, recipe),
            "flops": flops(architecture, recipe),
            "truths": judged.truths.tolist(),
            **mean([train(architecture, crops, judged, of.task, seed, recipe) for seed in seeds]),
        }
        write_text(self.folder / job.file, json.dumps(row))
        return row


def mean(trainings: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of what :func:`train` found several times, and the seconds of all."""
    found = {key: np.mean([one[key] for one in trainings], 0) for key in trainings[0]}
    found["seconds"] *= len(trainings)
    return {**{key: values.tolist() for key, values in found.items()}, "steps": trainings[0]["steps"]}


def grow(
    folder: Path,
    data: Path,
    *,
    recipe: Recipe | None = None,
    architectures: int = 400,
    most: int | None = None,
    processes: int = 1,
    say: Callable[[str], None] = print,
) -> None:
    """Train the rows that a folder has not, in order, until all are there.

    Args:
        folder: of the rows; what is there is not trained again.
        data: folder of the data sets.
        recipe: of the rows; ours by default.
        architectures: how many are drawn.
        most: rows to train now; None for all.
        processes: that train, each with one thread.

    Raises:
        RunError: another process grows the folder, or it was begun with another recipe.
        SettingError: there is no process to train.
    """
    if processes < 1:
        raise SettingError(f"processes: {processes}; give at least 1")
    recipe = recipe or Recipe()
    with owner(folder):
        check_recipe(folder, recipe)
        grower = Grower(folder, data, kept_architectures(folder, recipe, architectures), recipe)
        jobs = [job for job in plan(architectures) if not (folder / job.file).is_file()][:most]
        say(f"{len(jobs)} rows to train")
        context = multiprocessing.get_context("fork")  # children hold the lock too
        given = context.Value("i", 0)
        workers = [
            context.Process(target=_process, args=(grower, jobs, given, os.getpid(), say)) for _ in range(processes)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if any(worker.exitcode for worker in workers):
            raise RunError(f"{folder}: a process ended early; see its message above, then start it again")


def _process(*work: Any) -> None:
    """Set a process of its own to one thread and to no denormal numbers, and work."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    cv2.setNumThreads(0)
    _work(*work)


def _work(grower: Grower, jobs: list[Job], given: Any, parent: int, say: Callable[[str], None]) -> None:
    """Train one row after another, as long as the parent lives."""
    while os.getppid() == parent:
        with given.get_lock():
            place, given.value = given.value, given.value + 1
        if place >= len(jobs):
            return
        start = time.time()
        row = grower.row(jobs[place])
        errors = [abs(count - truth) for count, truth in zip(row["counts"][-1], row["truths"], strict=True)]
        say(
            f"{time.strftime('%H:%M:%S')} {jobs[place].file}: MAE {sum(errors) / len(errors):.1f}, "
            f"{row['seconds'][-1]:.0f} s of training, {time.time() - start:.0f} s in all"
        )
