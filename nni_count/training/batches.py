"""Batches of augmented crops and whole images, the same whatever the number of workers."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from nni_count.data.pixels import normalise
from nni_count.data.sample import Sample
from nni_count.errors import DataError
from nni_count.tasks.task import Task
from nni_count.training.cache import ImageCache
from nni_count.training.crops import CropStream
from nni_count.training.settings import Crops


class WholeImages(Dataset):  # type: ignore[type-arg]
    """Whole images and their places among the samples: ``((3, H, W) float32, index)``."""

    def __init__(self, samples: Sequence[Sample], cache_bytes: int = 1 << 30):
        self.samples = samples
        self.images = ImageCache(samples, cache_bytes)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return normalise(self.images[index]), index


class _Positions(Sampler[int]):
    def __init__(self) -> None:
        self.positions: Sequence[int] = ()

    def __iter__(self) -> Iterator[int]:
        return iter(self.positions)

    def __len__(self) -> int:
        return len(self.positions)


class CropLoader(DataLoader):  # type: ignore[type-arg]
    """Batches ``(images (B, 3, S, S), targets (B, K, S / stride, S / stride))`` from a :class:`CropStream`; where that
    gives points, third those of all maps, ``(N, 3)``: the number of the map among the B × K, x and y in pixels.

    An epoch is a pass over the images, or ``limit_batches``. The loader knows how far it is (:attr:`epoch`,
    :attr:`given`), and a checkpoint keeps that, so that a resumed run sees the batches that it would have seen.

    Where several processes train together, each with a loader of its own, they take turns: of every ``processes``
    batches of the stream, this one gives number ``process``.
    """

    def __init__(
        self,
        stream: CropStream,
        batch_size: int,
        *,
        limit_batches: int | None = None,
        num_workers: int = 0,
        process: int = 0,
        processes: int = 1,
    ):
        stream.images.processes = max(1, num_workers)
        self.batches = limit_batches or max(1, len(stream.samples) // (batch_size * processes))
        self.process = process
        self.processes = processes
        self.positions = _Positions()
        self.positions.positions = self._positions(range(self.batches), batch_size)
        self.epoch = 0
        self.given = 0
        super().__init__(
            stream,
            batch_size=batch_size,
            sampler=self.positions,
            num_workers=num_workers,
            collate_fn=_batch,
            pin_memory=torch.cuda.is_available(),
            multiprocessing_context="fork" if num_workers and sys.platform == "linux" else None,  # to share the cache
            worker_init_fn=_start_worker,
            persistent_workers=num_workers > 0,
        )

    def __len__(self) -> int:
        return self.batches

    def _positions(self, batches: range, size: int) -> list[int]:
        """Where the crops of this process's batches stand in the stream."""
        starts = ((batch * self.processes + self.process) * size for batch in batches)
        return [start + place for start in starts for place in range(size)]

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if self.given >= self.batches:
            self.epoch += 1
            self.given = 0
        assert self.batch_size is not None
        first, last = self.epoch * self.batches + self.given, (self.epoch + 1) * self.batches
        self.positions.positions = self._positions(range(first, last), self.batch_size)
        return self._count(super().__iter__())

    def _count(self, batches: Iterator[Any]) -> Iterator[Any]:
        try:
            for batch in batches:
                self.given += 1
                yield batch
        except DataError as error:  # a worker's comes with its whole traceback
            raise DataError(str(error).rpartition("DataError: ")[2]) from error

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.given = state["epoch"], state["given"]


def _batch(items: list[tuple[Any, ...]]) -> tuple[Tensor, ...]:
    """Crops stay bytes up to here: normalising a batch at once is faster."""
    crops, targets, *given = zip(*items, strict=True)
    batch = normalise(np.stack(crops)), torch.from_numpy(np.stack(targets))
    if not given:
        return batch
    maps = enumerate(chain.from_iterable(given[0]))
    return *batch, torch.from_numpy(np.concatenate([np.insert(points, 0, number, axis=1) for number, points in maps]))


def _start_worker(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process hears Ctrl-C and ends its workers when it is done
    cv2.setNumThreads(0)  # OpenCV's threads do not survive a fork


def crop_loader(
    samples: Sequence[Sample],
    task: Task,
    crops: Crops,
    *,
    stride: int,
    seed: int,
    limit_batches: int | None = None,
    cache_bytes: int | None = None,
    process: int = 0,
    processes: int = 1,
    with_points: bool = False,
) -> CropLoader:
    """A :class:`CropLoader` over a :class:`CropStream`; the arguments are theirs."""
    stream = CropStream(
        samples, task, crops, stride=stride, seed=seed, cache_bytes=cache_bytes, with_points=with_points
    )
    return CropLoader(
        stream,
        crops.batch_size,
        limit_batches=limit_batches,
        num_workers=crops.num_workers,
        process=process,
        processes=processes,
    )
