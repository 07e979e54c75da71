"""A trial of a multi-trial search, in a process of its own: an architecture is built, trained for a while, judged."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cloudpickle
import nni
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from nni_count.architecture import Architecture, read_architecture
from nni_count.data.origin import fingerprint
from nni_count.data.sample import Sample
from nni_count.errors import TrainingError
from nni_count.losses.scale_pyramid import ScalePyramidLoss
from nni_count.networks import Network, create, initialise, number_of_parameters
from nni_count.runs.describe import describe
from nni_count.runs.files import whole
from nni_count.searching.recipe import SpaceTraining
from nni_count.tasks.judging import judge
from nni_count.tasks.task import Task
from nni_count.training.batches import WholeImages, crop_loader
from nni_count.training.compute import Compute
from nni_count.training.settings import Crops, Recipe

REPORTS = 5  # a trial, at most, so that the portal draws a curve


class Built(nn.Module):
    """The network of an architecture with its loss: a space in which nothing is left to choose."""

    def __init__(self, architecture: Architecture, out_channels: int):
        super().__init__()
        self.network: Network = create("amsnet", architecture, out_channels=out_channels)
        self.map_stride = self.network.map_stride
        initialise(self.network)
        self.pyramid = ScalePyramidLoss(architecture.pooling)

    def forward(self, image: Tensor) -> Tensor:
        density: Tensor = self.network(image)
        return density

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = self.pyramid(estimate, target)
        return loss


class Judged(SpaceTraining):
    """:class:`SpaceTraining`, and after some epochs, the last one among them, the task's main metric on whole images.

    Args:
        task, recipe, epochs: see :class:`SpaceTraining`.
        images: the whole images.
        report: is given the metric.
    """

    def __init__(self, task: Task, recipe: Recipe, epochs: int, images: WholeImages, report: Callable[[float], None]):
        super().__init__(task, recipe, epochs)
        self.images = images
        self.report = report
        self.metric = math.nan

    def on_train_epoch_end(self) -> None:
        done = self.current_epoch + 1
        if done % math.ceil(self.epochs / REPORTS) and done < self.epochs:
            return
        images = (self.images[index][0] for index in range(len(self.images)))
        self.metric = judge(cast(Built, self.model).network, self.task, self.images.samples, images)
        self.model.train()
        if not math.isfinite(self.metric):
            raise TrainingError(f"{self.task.main_metric} is {self.metric}; lower --learning_rate")
        self.report(self.metric)


@dataclass(frozen=True)
class Candidate:
    """How every architecture of a search is trained and judged.

    Args:
        training: the half for the weights.
        judging: the half for the architecture.
        task: what is regressed.
        recipe: how the weights are trained.
        crops: what a step learns from; the memory for decoded images is that of all trials that run at once.
        epochs: of each training.
        limit_batches: steps an epoch.
        concurrency: trials that run at once on one machine.
        accelerator: Lightning's.
        seed: of the first weights and the crops, the same for every candidate.
    """

    training: Sequence[Sample]
    judging: Sequence[Sample]
    task: Task
    recipe: Recipe
    crops: Crops
    epochs: int
    limit_batches: int
    concurrency: int
    accelerator: str
    seed: int

    def save(self, path: Path) -> None:
        """Write it for the processes of the trials; readers of data sets are closures, which plain pickle refuses."""
        with whole(path) as temporary:
            temporary.write_bytes(cloudpickle.dumps(self))

    def learns_from(self) -> str:
        """A digest of the images and of all that the figures of an architecture depend on, beside the code."""
        images = [fingerprint(sample) for part in (self.training, self.judging) for sample in part]
        of_crops = {**describe(self.crops), "cache_gb": 0, "num_workers": 0}
        settings = describe([self.task, self.recipe, of_crops, self.epochs, self.limit_batches, self.seed])
        return hashlib.blake2b(json.dumps([images, settings]).encode(), digest_size=16).hexdigest()

    def share_processors(self) -> None:
        """Take this trial's part of the threads, unless ``OMP_NUM_THREADS`` says how many they are."""
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, processors() // self.concurrency))

    def run(self, architecture: Path) -> dict[str, float]:
        """:meth:`train` for the architecture of a file, in the process of a trial that nobody watches."""
        self.share_processors()
        return self.train(read_architecture(architecture), lambda figure: None)

    def train(self, architecture: Architecture, report: Callable[[float], None]) -> dict[str, float]:
        """Train the architecture's network.

        Args:
            report: is given the task's main metric after some epochs.

        Returns:
            The metric, by its name, on the half for the architecture at the end; ``parameters``, and ``seconds``.

        Raises:
            TrainingError: the loss is no longer a number.
        """
        begun = time.perf_counter()
        pl.seed_everything(self.seed, verbose=False)
        limit = self.crops.cache_bytes // (2 * self.concurrency)
        module = Judged(self.task, self.recipe, self.epochs, WholeImages(self.judging, limit), report)
        built = Built(architecture, self.task.out_channels)
        module.set_model(built)
        crops = crop_loader(
            self.training,
            self.task,
            self.crops,
            stride=built.map_stride,
            with_points=module.needs_points,
            seed=2 * self.seed,
            limit_batches=self.limit_batches,
            cache_bytes=limit,
        )
        trainer = pl.Trainer(
            **Compute(self.accelerator).together(),
            max_epochs=module.epochs,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        trainer.fit(module, crops)
        parameters = number_of_parameters(built.network)
        seconds = time.perf_counter() - begun
        return {self.task.main_metric: module.metric, "parameters": float(parameters), "seconds": round(seconds, 1)}


def processors() -> int:
    """Those that this process may use, which a scheduler may have made fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_candidate(space: Any, candidate_file: str) -> None:
    """What NNI calls in the process of a trial; reports ``default``, which strategies maximise, and the figures.

    Args:
        space: frozen at the trial's sample.
        candidate_file: where :meth:`Candidate.save` wrote.
    """
    candidate: Candidate = cloudpickle.loads(Path(candidate_file).read_bytes())
    candidate.share_processors()
    architecture = space.architecture(nni.get_current_parameter().choices)
    metric, sign = candidate.task.main_metric, 1 if candidate.task.larger_is_better else -1
    figures = candidate.train(
        architecture, lambda figure: nni.report_intermediate_result({"default": sign * figure, metric: figure})
    )
    nni.report_final_result({"default": sign * figures[metric], **figures})
