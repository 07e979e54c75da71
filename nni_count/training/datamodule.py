"""What a training reads: crops to learn from, whole images to judge by, one bound for the memory of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from nni_count.data.sample import Sample
from nni_count.tasks.task import Task
from nni_count.training.batches import CropLoader, WholeImages, crop_loader
from nni_count.training.settings import Crops
from nni_count.training.together import share


class TrainingData(pl.LightningDataModule):
    """Training crops and whole validation images, for Lightning's trainer.

    Args:
        training: samples that crops are drawn from.
        validation: samples that are read whole, one at a time.
        task: makes the targets.
        settings: how crops are drawn; both kinds of images share its memory.
        stride: pixels a side of a cell of the network's map.
        seed: of the crops.
        with_points: whether batches come with their points.
        process, processes: which of so many that train together this is: they share the images out.

    Attributes:
        crops: the loader of the training crops; its place in the stream is what a checkpoint has to keep.
    """

    def __init__(
        self,
        training: Sequence[Sample],
        validation: Sequence[Sample],
        task: Task,
        settings: Crops,
        *,
        stride: int,
        seed: int,
        with_points: bool = False,
        process: int = 0,
        processes: int = 1,
    ):
        super().__init__()
        limit = settings.cache_bytes
        bound = int(limit * len(training) / max(1, len(training) + len(validation)))
        self.crops: CropLoader = crop_loader(
            training,
            task,
            settings,
            stride=stride,
            seed=seed,
            cache_bytes=bound // processes,
            process=process,
            processes=processes,
            with_points=with_points,
        )
        self.images = WholeImages(validation, cache_bytes=(limit - bound) // processes)
        self.judged = share(len(validation), process, processes) if validation else []

    def train_dataloader(self) -> CropLoader:
        return self.crops

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.images, batch_size=None, sampler=self.judged)
