"""What a training reads: crops to learn from, whole images to judge by, one bound for the memory of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from nni_count.data.sample import Sample
from nni_count.tasks.task import Task
from nni_count.training.batches import CropLoader, WholeImages, crop_loader
from nni_count.training.cache import cache_bytes
from nni_count.training.crops import USUAL, Augmentation


class TrainingData(pl.LightningDataModule):
    """Training crops and whole validation images, for Lightning's trainer.

    Args:
        training: samples that crops are drawn from.
        validation: samples that are read whole, one at a time.
        task: makes the targets.
        crop_size, batch_size, stride, seed, num_workers, augmentation: see
            :func:`nni_count.training.batches.crop_loader`.
        cache_gb: bound of the memory for decoded images, in gigabytes of 2³⁰ bytes.

    Attributes:
        crops: the loader of the training crops; its place in the stream is what a checkpoint has to keep.
    """

    def __init__(
        self,
        training: Sequence[Sample],
        validation: Sequence[Sample],
        task: Task,
        *,
        crop_size: int,
        batch_size: int,
        stride: int,
        seed: int,
        num_workers: int = 0,
        augmentation: Augmentation = USUAL,
        cache_gb: float = 2.0,
    ):
        super().__init__()
        limit = cache_bytes(cache_gb)
        share = int(limit * len(training) / max(1, len(training) + len(validation)))
        self.crops: CropLoader = crop_loader(
            training,
            task,
            crop_size=crop_size,
            batch_size=batch_size,
            stride=stride,
            seed=seed,
            num_workers=num_workers,
            augmentation=augmentation,
            cache_bytes=share,
        )
        self.images = WholeImages(validation, cache_bytes=limit - share)

    def train_dataloader(self) -> CropLoader:
        return self.crops

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.images, batch_size=None)
