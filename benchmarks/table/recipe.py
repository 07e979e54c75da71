"""The recipe of the table's rows, and its data sets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nni_count.data import open_data, split_off
from nni_count.data.dataset import Dataset
from nni_count.data.sample import Sample
from nni_count.tasks.counting import Counting
from nni_count.training.settings import Augmentation

#: by how much the longer training of the first architectures exceeds the others
LONGER = 10
#: values of the training loss that a row keeps
LOSSES = 20
#: of all rows: levels of averages, each in shares of the truth's own squares
LOSS = {"sppl": {"weight": 1.0, "poolings": ["avg_2x2", "avg_2x2", "avg_2x2"], "normalised": True}}


@dataclass(frozen=True)
class Recipe:
    """How a row is trained: one recipe for all rows of a table, but for the ``steps`` of the longer ones.

    Args:
        width: of the network, C.
        stem_stride: of the network.
        map_stride: of the network.
        crop_size: side of a crop in pixels.
        batch_size: crops a step.
        steps: optimiser steps; a multiple of ``LOSSES``.
        learning_rate: Adam's largest.
        warm_up: the share of the steps in which it rises to that; then it falls to zero as a cosine.
        gradient_clip: largest norm of the gradient.
        average_share: how far the moving average of the weights, which is what is judged, reaches back, as a share
            of the steps.
        crops: so many are cut once; all rows draw their batches from them.
        recalibration: crops from which the batch norms' statistics are taken anew before the network is judged.
        judged: how often the network is judged, at even distances, at the end too.
    """

    width: int = 32
    stem_stride: int = 2
    map_stride: int = 4
    crop_size: int = 64
    batch_size: int = 8
    steps: int = 120
    learning_rate: float = 1e-2
    warm_up: float = 0.1
    gradient_clip: float = 5.0
    average_share: float = 0.2
    crops: int = 2048
    recalibration: int = 64
    judged: int = 5

    @property
    def longer(self) -> Recipe:
        """That of the longer trainings: ``LONGER`` times the steps, judged more often."""
        return replace(self, steps=LONGER * self.steps, judged=2 * self.judged)


@dataclass(frozen=True)
class DataSet:
    """A data set of the table.

    Args:
        folder: below the folder of all data; or the name and the settings of synthetic ones.
        judging: the share of its training images on which networks are judged; the others train. Its test part is
            never read.
        task: how points become maps.
        augmentation: of the crops.
        trainings: so many make a row, which is their mean, until two seeds rank architectures alike.
    """

    folder: str | dict[str, Any]
    judging: float
    task: Counting
    augmentation: Augmentation
    trainings: int = 1

    def parts(self, data: Path) -> tuple[list[Sample], list[Sample]]:
        """The images that train and those that judge; the draw is the same for all rows."""
        return split_off(self.open(data).samples("train"), self.judging, seed=0)

    def open(self, data: Path) -> Dataset:
        """The whole data set."""
        return open_data(data / self.folder if isinstance(self.folder, str) else self.folder)


SETS: dict[str, DataSet] = {
    "cells": DataSet("vgg_cells", 0.4, Counting(), Augmentation(rotation=0.0, quarter_turns=True)),
    "crowds": DataSet(
        {"path": "synthetic", "train": 300, "level": "easy"},
        1 / 3,
        Counting(sigma=3.0, kernel_size=11),
        Augmentation(),
        trainings=8,
    ),
}
