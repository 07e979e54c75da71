"""What a trained space tells of an architecture: its path through the shared weights, and its α and β."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import nn

from benchmarks.table.banks import Judged
from benchmarks.table.recipe import SETS, Recipe
from benchmarks.table.report import Figures, compared
from nni_count.architecture import Architecture
from nni_count.comparing.trained import Table
from nni_count.data import halves
from nni_count.runs.run import Run
from nni_count.searching.frozen import view
from nni_count.searching.job import Job
from nni_count.searching.one_shot import mutated, search_one_shot
from nni_count.searching.perturbation import load_weights
from nni_count.searching.settings import Decoding, SearchBudget
from nni_count.training.compute import Compute
from nni_count.training.settings import Crops
from nni_count.training.settings import Recipe as Rates
from search_spaces import AMSNetSpace
from strategies import DARTS, GDAS, PartialChannel, RandomOneShot
from strategies.paths import batch_statistics

STRATEGIES: dict[str, Any] = {
    "RandomOneShot": RandomOneShot,
    "GDAS": GDAS,
    "DARTS": DARTS,
    "PartialChannel": lambda: PartialChannel(k=2),  # of 32 channels, 4 has no share
}
#: steps an epoch; of each, one trains the weights and one α
STEPS = 20


def searched(name: str, data: str, root: Path, epochs: int, folder: Path) -> tuple[AMSNetSpace, Mapping[str, Any]]:
    """The space of the table's networks, trained by a strategy on the images that train, and what the strategy found.

    A folder that holds the whole search is read, and one that was broken off is gone on with.
    """
    chosen, recipe = SETS[data], Recipe()
    pl.seed_everything(0, verbose=False)
    space = {"width": recipe.width, "stem_stride": recipe.stem_stride, "map_stride": recipe.map_stride}
    run = Run(folder / f"{name}-{data}-{epochs}")
    crops = Crops(recipe.crop_size, recipe.batch_size, chosen.augmentation)
    budget = SearchBudget(max_epochs=epochs, limit_train_batches=STEPS)
    job = Job(
        AMSNetSpace(**space),
        STRATEGIES[name](),
        chosen.task,
        chosen.open(root),
        halves(chosen.parts(root)[0], 0),
        STEPS,
        crops,
        Rates(learning_rate=3e-3),
        budget,
        Compute(accelerator="cpu"),
        0,
        {"strategy": name, "seed": 0},
    )
    search_one_shot(
        job, run.folder, {}, decoding=Decoding(validation_images=0), callbacks=[], resume=run.last_checkpoint.is_file()
    )
    trained = mutated(AMSNetSpace(**space), STRATEGIES[name]())
    checkpoint = torch.load(run.last_checkpoint, map_location="cpu", weights_only=True)
    load_weights(trained, checkpoint, run.last_checkpoint)
    return cast(AMSNetSpace, trained), checkpoint["callbacks"]["AfterEpoch"]["found"]["probabilities"]


def path_error(space: AMSNetSpace, architecture: Architecture, judged: Judged, task: Any) -> float:
    """What the architecture leaves unexplained with the space's weights; norms take each batch's own statistics, since
    those of the space are of all candidates.
    """
    network = view(cast(nn.Module, space), space.sample(architecture))
    with batch_statistics(network.eval()):
        return judged.judge(cast(Any, network), task)[1]


def surprise(space: AMSNetSpace, architecture: Architecture, probabilities: Mapping[str, Any]) -> float:
    """How improbable α and β make an architecture: minus the mean logarithm of what it chose."""
    logarithms = []
    for label, choice in space.sample(architecture).items():
        for one in choice if isinstance(choice, (list, tuple)) else [choice]:
            if label in probabilities:
                logarithms.append(math.log(max(float(probabilities[label][one]), 1e-12)))
    return -sum(logarithms) / max(1, len(logarithms))


def lines(table: Table, root: Path, folder: Path, epochs: int) -> list[str]:
    """Rank correlations with the error, both seeds' mean, of each strategy's trained space."""
    found = []
    for data in table.data:
        errors = table.errors(data)
        judged = Judged(SETS[data].parts(root)[1], SETS[data].task, Recipe())
        found.append(f"{data}:")
        for name in STRATEGIES:
            space, probabilities = searched(name, data, root, epochs, folder)
            cells = {number: table.architectures[number] for number in errors}
            paths: Figures = {n: path_error(space, one, judged, SETS[data].task) for n, one in cells.items()}
            found.append(compared(f"its path in {name}'s space", paths, errors))
            if probabilities:
                alphas: Figures = {n: surprise(space, one, probabilities) for n, one in cells.items()}
                found.append(compared(f"α and β of {name}", alphas, errors))
    return found
