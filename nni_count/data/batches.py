"""Batches of augmented crops: a pure function of the seed and the position in the stream, whatever the workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from nni_count.data.sample import Sample
from nni_count.errors import SettingError
from nni_count.task import Counting

#: ImageNet's, as the field uses them; stored with every model
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def normalise(image: np.ndarray) -> Tensor:
    """``(H, W, 3)`` uint8 RGB → ``(3, H, W)`` float32 of about zero mean and unit deviation."""
    scaled = (image.astype(np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return torch.from_numpy(scaled).permute(2, 0, 1)


class ImageCache:
    """Decoded images, kept until ``limit`` bytes are full; later ones are decoded each time."""

    def __init__(self, samples: list[Sample], limit: int):
        self.samples = samples
        self.free = limit
        self.images: dict[int, np.ndarray] = {}

    def __getitem__(self, index: int) -> np.ndarray:
        image = self.images.get(index)
        if image is None:
            image = self.samples[index].read()
            if image.nbytes <= self.free:
                self.free -= image.nbytes
                self.images[index] = image
        return image


class CropStream(Dataset):  # type: ignore[type-arg]
    """An endless stream of augmented crops; item ``p`` depends on the seed and ``p`` alone.

    Every pass takes each image once, in a new order. A crop is drawn at random, flipped left to right half the
    time, and half the time turned by up to ``rotation`` degrees. Points go through with the pixels, so the target
    sums to the people whose head lies in the crop. An image smaller than the crop is filled up with the mean colour.

    Args:
        samples: images with points.
        task: makes the target.
        crop_size: side of the crop in pixels.
        stride: of the target map in pixels.
        seed: of the draws.
        rotation: largest angle in degrees.
        cache_bytes: bound of the memory for decoded images.
    """

    def __init__(
        self,
        samples: list[Sample],
        task: Counting,
        *,
        crop_size: int,
        stride: int,
        seed: int,
        rotation: float = 10.0,
        cache_bytes: int = 2 << 30,
    ):
        if crop_size < 16 or crop_size % 8:
            raise SettingError(f"crop_size: {crop_size}; choose a multiple of 8, at least 16")
        self.samples = samples
        self.images = ImageCache(samples, cache_bytes)
        self.task = task
        self.crop_size = crop_size
        self.stride = stride
        self.seed = seed
        self.rotation = rotation

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        turn, place = divmod(position, len(self.samples))
        index = int(np.random.default_rng((self.seed, 1, turn)).permutation(len(self.samples))[place])
        rng = np.random.default_rng((self.seed, 2, position))
        image, points = self._crop(self.images[index], self.samples[index].points, rng)
        if rng.random() < 0.5:
            image = image[:, ::-1]
            points = np.stack([self.crop_size - points[:, 0], points[:, 1]], 1)
        target = self.task.target(points, (self.crop_size, self.crop_size), self.stride)
        return normalise(image), torch.from_numpy(target)

    def _crop(self, image: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        size = self.crop_size
        height, width = image.shape[:2]
        left = int(rng.integers(min(0, width - size), max(0, width - size) + 1))
        top = int(rng.integers(min(0, height - size), max(0, height - size) + 1))
        # crop pixel (u, v) shows image pixel matrix · (u, v, 1); pixel centres lie at half integers
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation)) if rng.random() < 0.5 else 0.0
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]])
        centre = np.array([left + size / 2, top + size / 2])
        moved = (points - centre) @ turn + size / 2  # the inverse turn: rows times matrix is its transpose
        fill = tuple(round(255 * value) for value in MEAN)
        if angle == 0.0 and left >= 0 and top >= 0 and left + size <= width and top + size <= height:
            crop = image[top : top + size, left : left + size]
        else:
            shift = turn @ np.array([0.5 - size / 2] * 2) + centre - 0.5
            matrix = np.column_stack([turn, shift])
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            crop = cv2.warpAffine(
                image, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
            )
        return crop, moved


class WholeImages(Dataset):  # type: ignore[type-arg]
    """Whole images with their counts: ``((3, H, W) float32, people)``."""

    def __init__(self, samples: Sequence[Sample], cache_bytes: int = 1 << 30):
        self.samples = list(samples)
        self.images = ImageCache(self.samples, cache_bytes)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return normalise(self.images[index]), self.samples[index].count


class _Positions(Sampler[int]):
    def __init__(self) -> None:
        self.positions = range(0)

    def __iter__(self) -> Iterator[int]:
        return iter(self.positions)

    def __len__(self) -> int:
        return len(self.positions)


class CropLoader(DataLoader):  # type: ignore[type-arg]
    """Batches ``(images (B, 3, S, S), targets (B, 1, S / stride, S / stride))`` from a :class:`CropStream`.

    An epoch is a pass over the images, or ``limit_batches``. The loader knows how far it is (:attr:`epoch`,
    :attr:`given`), and a checkpoint keeps that, so that a resumed run sees the batches that it would have seen.
    """

    def __init__(self, stream: CropStream, batch_size: int, *, limit_batches: int | None = None, num_workers: int = 0):
        if batch_size < 1:
            raise SettingError(f"batch_size: {batch_size}; must be at least 1")
        self.batches = limit_batches or max(1, len(stream.samples) // batch_size)
        self.positions = _Positions()
        self.positions.positions = range(self.batches * batch_size)
        self.epoch = 0
        self.given = 0
        super().__init__(
            stream,
            batch_size=batch_size,
            sampler=self.positions,
            num_workers=num_workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=False,
        )

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if self.given >= self.batches:
            self.epoch += 1
            self.given = 0
        assert self.batch_size is not None
        start = (self.epoch * self.batches + self.given) * self.batch_size
        self.positions.positions = range(start, (self.epoch + 1) * self.batches * self.batch_size)
        return self._count(super().__iter__())

    def _count(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            self.given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.given = state["epoch"], state["given"]


def crop_loader(
    samples: list[Sample],
    task: Counting,
    *,
    crop_size: int,
    batch_size: int,
    stride: int,
    seed: int,
    num_workers: int = 0,
    limit_batches: int | None = None,
) -> CropLoader:
    """A :class:`CropLoader` over a :class:`CropStream`; the arguments are theirs."""
    stream = CropStream(samples, task, crop_size=crop_size, stride=stride, seed=seed)
    return CropLoader(stream, batch_size, limit_batches=limit_batches, num_workers=num_workers)
