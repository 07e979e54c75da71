"""Nuts and bolts on a bench, drawn on the fly: two kinds to count, and washers, which are neither."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator, default_rng

from nni_count.data.dataset import Dataset
from nni_count.data.sample import Sample

SIZE = 192  # pixels a side
FINE = 3  # drawn so many times larger, for smooth edges
NUT, BOLT, WASHER = range(3)
MOST = {NUT: 40, BOLT: 40, WASHER: 12}
TEST_START = 1_000_000  # far beyond any training image


class NutsAndBolts(Dataset):
    """Images of nuts and bolts, labelled so, with a point in the middle of each nut and of each bolt's head.

    Args:
        train: number of training images.
        test: number of test images, which are others.
        seed: of all images.
    """

    layout = "made on the fly"
    splits = ("train", "test")

    def __init__(self, train: int = 300, test: int = 100, seed: int = 0):
        super().__init__("nuts and bolts")
        self.numbers = {"train": train, "test": test}
        self.seed = seed

    @property
    def name(self) -> str:
        return str(self.root)

    @staticmethod
    def recognises(root: Path) -> bool:
        return False

    def read(self, split: str) -> list[Sample]:
        first = TEST_START if split == "test" else 0
        return [self._sample(first + number) for number in range(self.numbers[split])]

    def _sample(self, number: int) -> Sample:
        kinds, points, *_ = things(default_rng((self.seed, number)))
        counted = kinds != WASHER
        labels = np.array(["nuts", "bolts", "washers"])[kinds[counted]]
        read = partial(picture, self.seed, number)
        return Sample(f"bench-{self.seed}-{number}", points[counted], read, labels=labels)


def things(rng: Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What lies on a bench, in the order in which it was put there: kinds, points, radii (pixels) and angles."""
    numbers = [int(np.exp(rng.uniform(0, np.log(most + 1)))) for most in MOST.values()]
    kinds = rng.permutation(np.repeat(list(MOST), numbers))
    points = rng.uniform(2, SIZE - 2, (len(kinds), 2))
    for _ in range(20):  # nothing lies right on another thing
        near = np.triu(np.linalg.norm(points[:, None] - points, axis=2) < 9, 1).any(0)
        points[near] = rng.uniform(2, SIZE - 2, (int(near.sum()), 2))
    return kinds, points, rng.uniform(4, 7, len(kinds)), rng.uniform(0, 2 * np.pi, len(kinds))


def picture(seed: int, number: int) -> np.ndarray:
    """An image of the bench: ``(SIZE, SIZE, 3)`` uint8 RGB."""
    rng = default_rng((seed, number))
    scene = things(rng)
    small = rng.normal(0, 1, (12, 12, 1)).astype(np.float32)
    ground = cv2.resize(small, (SIZE * FINE, SIZE * FINE), interpolation=cv2.INTER_CUBIC)[:, :, None]
    image = rng.uniform(70, 170) + 12 * ground + rng.uniform(-25, 25, 3)
    image = np.ascontiguousarray(image.clip(0, 255).astype(np.uint8))
    for kind, point, radius, angle in zip(*scene, strict=True):
        _draw(rng, image, kind, point * FINE, radius * FINE, angle)
    image = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.8))
    noisy = image * rng.uniform(0.7, 1.2) + rng.normal(0, rng.uniform(1, 7), image.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def _draw(rng: Generator, image: np.ndarray, kind: int, point: np.ndarray, radius: float, angle: float) -> None:
    metal = rng.uniform(90, 220) * np.array([1, rng.uniform(0.9, 1), rng.uniform(0.7, 1)])
    colour, dark, shade = (tuple(map(float, metal * share)) for share in (1.0, 0.6, 0.3))
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    corners = angle + np.arange(6) * np.pi / 3
    hexagon = point + radius * np.stack([np.cos(corners), np.sin(corners)], 1)
    centre = tuple(map(int, point))
    if kind == BOLT:
        end, half = point + rng.uniform(2.5, 4) * radius * along, 0.45 * radius * across
        shaft = np.stack([point + half, end + half, end - half, point - half])
        cv2.fillPoly(image, [shaft.astype(int)], dark, cv2.LINE_AA)
        for step in np.arange(1.2, 4, 0.35):  # the thread
            place = point + step * radius * along
            if (place - end) @ along < 0:
                cv2.line(image, _whole(place + half), _whole(place - half), shade, 1, cv2.LINE_AA)
    if kind == WASHER:
        cv2.circle(image, centre, int(radius), colour, -1, cv2.LINE_AA)
    else:
        cv2.fillPoly(image, [hexagon.astype(int)], colour, cv2.LINE_AA)
        cv2.polylines(image, [hexagon.astype(int)], True, dark, 1, cv2.LINE_AA)
    if kind != BOLT:
        cv2.circle(image, centre, int(0.5 * radius), shade, -1, cv2.LINE_AA)


def _whole(point: np.ndarray) -> tuple[int, int]:
    return int(point[0]), int(point[1])
