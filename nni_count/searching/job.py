"""What a search does, whatever its strategy is: everything that one-shot and multi-trial searches share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from nni_count.data import halves
from nni_count.data.dataset import Dataset
from nni_count.data.origin import as_begun
from nni_count.data.sample import Sample
from nni_count.errors import SettingError
from nni_count.losses import create_loss
from nni_count.networks.trunk import load_trunks
from nni_count.runs.describe import path_of
from nni_count.searching.nni import ModelSpace, Strategy
from nni_count.searching.recipe import searched
from nni_count.searching.settings import SearchBudget
from nni_count.searching.space import Space, check_is_space
from nni_count.tasks.checking import check_task
from nni_count.tasks.task import Task
from nni_count.training.compute import Compute
from nni_count.training.settings import Crops, Recipe


@dataclass(frozen=True)
class Job:
    """What is searched, how its weights are trained, for how long, and on what.

    Args:
        space: as it was given; its choices are still open.
        strategy: what searches it.
        task: what is regressed.
        dataset: that the parts are of.
        parts: the half for the weights, and the half for the architecture.
        batches: steps an epoch.
        crops, recipe, budget, compute, seed: see :func:`nni_count.search`.
        provenance: of the architecture, as far as it is known before the search.
    """

    space: ModelSpace
    strategy: Strategy
    task: Task
    dataset: Dataset
    parts: tuple[Sequence[Sample], Sequence[Sample]]
    batches: int
    crops: Crops
    recipe: Recipe
    budget: SearchBudget
    compute: Compute
    seed: int
    provenance: dict[str, Any]


def prepare(
    dataset: Dataset,
    space: ModelSpace,
    strategy: Strategy,
    task: Task,
    *,
    crops: Crops,
    recipe: Recipe,
    budget: SearchBudget,
    compute: Compute,
    seed: int,
    begun: str | Path | None = None,
) -> Job:
    """The job of a search, checked.

    The space that is given stays as it is: one with its settings is built anew, so that its weights start from the
    seed that was set before. ``begun`` is the folder of a run that is continued, with the images of which it goes on.

    Raises:
        SettingError: the space, the strategy or a setting does not fit, or a trunk's weights cannot be had.
        DataError: of the first image, the task makes no target that fits.
    """
    _check(space, strategy, task, crops)
    follows = {"out_channels": task.out_channels} if "out_channels" in cast(Space, space).settings else {}
    space = type(space)(*space.trace_args, **{**space.trace_kwargs, **follows})
    parts = halves(dataset.samples("train"), seed)
    if begun is None:
        load_trunks(space)
    else:
        parts = as_begun(begun, "search", dataset, parts)
    check_task(task, [*parts[0], *parts[1]])
    if recipe.loss is not None:
        searched(cast(Space, space), task, create_loss(recipe.loss)).check(parts[0], crops.size)
    whole = max(1, min(map(len, parts)) // (crops.batch_size * compute.processes))
    provenance = {
        "strategy": path_of(type(strategy)),
        "seed": seed,
        "data": dataset.name,
        "versions": {name: _version(name) for name in ("nni", "torch", "nni-count")},
    }
    batches = budget.limit_train_batches or whole
    return Job(space, strategy, task, dataset, parts, batches, crops, recipe, budget, compute, seed, provenance)


def _check(space: ModelSpace, strategy: Strategy, task: Task, crops: Crops) -> None:
    check_is_space(space)
    if not isinstance(strategy, Strategy):
        raise SettingError(f"strategy: {type(strategy).__name__} is no NNI strategy; choose one, such as DARTS")
    multiple, channels = cast(Space, space).multiple, space.trace_kwargs.get("out_channels")
    if crops.size % multiple:
        raise SettingError(f"crop_size: {crops.size}; {type(space).__name__} needs a multiple of {multiple}")
    if channels not in (None, task.out_channels):
        raise SettingError(f"space.out_channels: {channels}; the task regresses {task.out_channels} map(s)")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # run from its sources
        return "not installed"
