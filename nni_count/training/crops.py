"""Crops: an endless stream, in which each is a pure function of the seed and its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator, default_rng
from torch.utils.data import Dataset

from nni_count.data.sample import MEAN_COLOUR, Sample
from nni_count.tasks.task import Task, checked_target
from nni_count.training.cache import ImageCache
from nni_count.training.settings import Crops


class CropStream(Dataset):  # type: ignore[type-arg]
    """An endless stream of augmented crops; item ``p`` depends on the seed and ``p`` alone.

    Every pass takes each image once, in a new order. Points and maps go through with the pixels: the task is given the
    crop as a sample. An image smaller than the crop is filled up with the mean colour. Items are
    ``((S, S, 3) uint8, the task's target)``, and third, where they are asked for, the points inside of each map,
    ``(N, 2)`` float32.

    Args:
        samples: images with points or maps.
        task: makes the target.
        crops: how they are drawn.
        stride: of the target map in pixels.
        seed: of the draws.
        cache_bytes: bound of the memory for decoded images; that of ``crops`` where not given.
        with_points: whether items have their points.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        task: Task,
        crops: Crops,
        *,
        stride: int,
        seed: int,
        cache_bytes: int | None = None,
        with_points: bool = False,
    ):
        self.samples = samples
        self.images = ImageCache(samples, crops.cache_bytes if cache_bytes is None else cache_bytes)
        self.task = task
        self.crop_size = crops.size
        self.stride = stride
        self.seed = seed
        self.augmentation = crops.augmentation
        self.with_points = with_points
        self._turn, self._order = -1, np.zeros(0, np.int64)

    def __getitem__(self, position: int) -> tuple[Any, ...]:
        turn, place = divmod(position, len(self.samples))
        if turn != self._turn:
            self._turn, self._order = turn, default_rng((self.seed, 1, turn)).permutation(len(self.samples))
        index = int(self._order[place])
        rng = default_rng((self.seed, 2, position))
        crop = self._crop(self.images[index], self.samples[index], rng)
        if rng.random() < 0.5:
            crop = _flipped(crop)
        if self.augmentation.quarter_turns:
            crop = _turned(crop, int(rng.integers(4)))
        target = checked_target(self.task, crop, (self.crop_size, self.crop_size), self.stride)
        if not self.with_points:
            return crop.read(), target
        return crop.read(), target, [_within(points, self.crop_size) for points in self.task.points(crop) or ()]

    def _crop(self, image: np.ndarray, sample: Sample, rng: Generator) -> Sample:
        size, settings, points = self.crop_size, self.augmentation, sample.points
        # what is not asked for is not drawn, so that a setting changes only what it is about
        low, high = settings.scale
        span = size if low == high == 1 else round(size / np.exp(rng.uniform(np.log(low), np.log(high))))
        height, width = image.shape[:2]
        chosen = None
        if settings.points_share and rng.random() < settings.points_share:
            inside = points[((points >= 0) & (points < (width, height))).all(1)]
            chosen = inside[rng.integers(len(inside))] if len(inside) else None
        left = _place(width, span, None if chosen is None else int(chosen[0]), rng)
        top = _place(height, span, None if chosen is None else int(chosen[1]), rng)
        angle = np.deg2rad(rng.uniform(-settings.rotation, settings.rotation)) if rng.random() < 0.5 else 0.0
        window = Window(left, top, span, size, angle)
        if chosen is not None and not _inside(window.move(chosen), size):
            window = Window(left, top, span, size, 0.0)
        return window.crop(sample, image)


def _mirrored(along: np.ndarray, size: int) -> np.ndarray:
    """Coordinates counted from the other side; a hair less, so that a point on a pixel's edge stays in its pixel."""
    return np.asarray(np.nextafter(size, 0) - along)


def _flipped(crop: Sample) -> Sample:
    """From left to right."""
    image = crop.read()
    points = np.stack([_mirrored(crop.points[:, 0], len(image)), crop.points[:, 1]], 1)
    return _seen(crop, image.shape[:2], points, cv2.flip(image, 1), lambda values: values[:, ::-1])


def _turned(crop: Sample, turns: int) -> Sample:
    """To the left by so many quarters."""
    image, points = crop.read(), crop.points
    for _ in range(turns):
        points = np.stack([points[:, 1], _mirrored(points[:, 0], len(image))], 1)
    return _seen(crop, image.shape[:2], points, np.rot90(image, turns), lambda values: np.rot90(values, turns))


def _seen(
    sample: Sample,
    shape: tuple[int, int],
    points: np.ndarray,
    image: np.ndarray,
    see: Callable[[np.ndarray], np.ndarray],
    zoom: float = 1.0,
) -> Sample:
    """A sample of ``shape`` with other points, another image, and each of its maps as ``see`` gives it."""
    read_map = None
    if sample.read_map is not None:
        maps = np.stack([see(values) for values in sample.map(shape)])
        read_map = lambda: maps  # noqa: E731
    return replace(sample, points=points, read=lambda: image, read_map=read_map, zoom=sample.zoom * zoom)


def _within(points: np.ndarray, size: int) -> np.ndarray:
    """Those inside, ``(N, 2)`` float32, each still in its pixel."""
    points = points[((points >= 0) & (points < size)).all(1)]
    single = points.astype(np.float32)
    return np.where(np.floor(single) > np.floor(points), np.nextafter(single, np.float32(0)), single)


def _inside(point: np.ndarray, size: int) -> bool:
    return bool(((point >= 0) & (point < size)).all())


def _place(length: int, span: int, point: int | None, rng: Generator) -> int:
    """Where a crop of ``span`` pixels begins along a side of the image; it contains the point, where there is one."""
    first, last = min(0, length - span), max(0, length - span)  # a smaller image lies anywhere in the crop
    if point is not None:
        first, last = max(first, point - span + 1), min(last, point)
    return int(rng.integers(first, last + 1))


class Window:
    """A square of an image that becomes a crop: ``span`` pixels a side, turned by ``angle``, scaled to ``size``."""

    def __init__(self, left: int, top: int, span: int, size: int, angle: float):
        self.left, self.top, self.span, self.size, self.angle = left, top, span, size, angle
        self.centre = np.array([left + span / 2, top + span / 2])
        cos, sin = np.cos(angle), np.sin(angle)
        self.turn = np.array([[cos, -sin], [sin, cos]])  # a direction in the crop → one in the image

    def move(self, points: np.ndarray) -> np.ndarray:
        """Where points of the image, ``(..., 2)``, lie in the crop."""
        # rows times a matrix are its transpose, here the inverse turn, times columns
        moved: np.ndarray = (points - self.centre) @ self.turn * (self.size / self.span) + self.size / 2
        return moved

    def crop(self, sample: Sample, image: np.ndarray) -> Sample:
        """What the window shows of a sample: its pixels, its points wherever they now lie, and its map."""

        def see(values: np.ndarray) -> np.ndarray:
            return self.cut(values, 0, cv2.INTER_NEAREST)  # between two values may lie one that means nothing

        zoom = self.size / self.span
        return _seen(sample, image.shape[:2], self.move(sample.points), self.cut(image), see, zoom)

    def cut(
        self, image: np.ndarray, beyond: int | tuple[int, ...] = MEAN_COLOUR, interpolation: int = cv2.INTER_LINEAR
    ) -> np.ndarray:
        """The crop, ``(size, size, ...)``, with ``beyond`` where the image has ended."""
        height, width = image.shape[:2]
        right, bottom = self.left + self.span, self.top + self.span
        inside = min(self.left, self.top) >= 0 and right <= width and bottom <= height
        if inside and self.angle == 0.0 and self.span == self.size:
            return image[self.top : bottom, self.left : right]
        # crop pixel (u, v) shows image pixel matrix · (u, v, 1); pixel centres lie at half integers
        linear = self.turn * (self.span / self.size)
        shift = linear @ np.array([0.5 - self.size / 2] * 2) + self.centre - 0.5
        crop: np.ndarray = cv2.warpAffine(
            image,
            np.column_stack([linear, shift]),
            (self.size, self.size),
            flags=interpolation | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=beyond,
        )
        return crop
