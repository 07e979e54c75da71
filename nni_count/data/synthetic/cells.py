"""Synthetic cells: fluorescence microscopy as in the VGG set, with every cell's centre known.

Stained nuclei shine on a dark ground. Light adds up where they lie over one another; some are out of focus, some
brighter, and the lamp does not light the slide evenly. An image depends on its seed and its number alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator, default_rng
from scipy.spatial import cKDTree

from nni_count.data.synthetic.paint import Pair, noise
from nni_count.data.synthetic.stream import Stream, check_settings

APART = 0.4  # of the radius: cells nearer than this could not be told from one


class CellStream(Stream):
    """Synthetic cells without end, named ``cells-{seed}-{number}``; points are their centres, inside the image.

    Args:
        seed: at least 0.
        size: height and width in pixels, at least 32 each; cells keep their size.
        cells: fewest and most cells in an image, every count as likely as another. The VGG set's by default.

    Raises:
        SettingError: when an argument is out of its range.
    """

    def __init__(self, seed: int = 0, *, size: Pair = (256, 256), cells: Pair = (74, 317)) -> None:
        check_settings("synthetic cells", seed, size, "cells", cells)
        self.seed = seed
        self.size = size
        self.cells = cells

    @property
    def name(self) -> str:
        return f"cells-{self.seed}"

    def points(self, index: int) -> np.ndarray:
        return self._draw(index)[1].points

    def image(self, index: int) -> np.ndarray:
        rng, slide = self._draw(index)
        return _photograph(rng, _light_of_cells(rng, slide), slide.radius)

    def _draw(self, index: int) -> tuple[Generator, _Slide]:
        rng = default_rng((self.seed, index, 0xCE11))
        return rng, _draw_slide(rng, self.size, self.cells)


@dataclass(frozen=True)
class _Slide:
    """The cells on a slide; pixels throughout."""

    size: Pair
    radius: float  # of a cell, on average
    points: np.ndarray  # (N, 2)


def _draw_slide(rng: Generator, size: Pair, cells: Pair) -> _Slide:
    number = int(rng.integers(cells[0], cells[1] + 1))
    radius = rng.uniform(4.3, 5.3)
    high = np.array(size[::-1], np.float64)
    clusters = rng.uniform(0, high, (rng.integers(1 + number // 15, 2 + number // 4), 2))
    clustered = rng.uniform(0.1, 0.7)
    points = rng.uniform(0, high, (0, 2))
    for _ in range(30):  # draw, and draw those again that lie on one another or outside
        wanted = number - len(points)
        near = clusters[rng.integers(0, len(clusters), wanted)] + rng.normal(0, 2.5 * radius, (wanted, 2))
        alone = rng.uniform(0, high, (wanted, 2))
        points = np.concatenate([points, np.where(rng.random((wanted, 1)) < clustered, near, alone)])
        points = points[((points >= 0) & (points < high)).all(1)]
        pairs = cKDTree(points).query_pairs(APART * radius, output_type="ndarray")
        points = np.delete(points, np.unique(pairs.max(1, initial=0)[pairs.any(1)]), 0)
        if len(points) == number:
            break
        clustered *= 0.9  # clusters may be full
    points = np.concatenate([points, rng.uniform(0, high, (number - len(points), 2))])
    return _Slide(size, radius, points)


def _light_of_cells(rng: Generator, slide: _Slide) -> np.ndarray:
    """What shines of the cells, 1 for one in focus: ``(H, W)`` float32."""
    height, width = slide.size
    reach = math.ceil(3 * slide.radius)
    light = np.zeros((height + 2 * reach, width + 2 * reach), np.float32)
    whole = np.floor(slide.points).astype(int)
    for (x, y), cell in zip(whole.tolist(), _cells(rng, slide, slide.points - whole, reach), strict=True):
        light[y : y + 2 * reach + 1, x : x + 2 * reach + 1] += cell  # the margin makes up for the reach
    return light[reach : reach + height, reach : reach + width]


def _cells(rng: Generator, slide: _Slide, centre: np.ndarray, reach: int) -> np.ndarray:
    """Cells, each in the middle of its own little image: ``(N, 2·reach + 1, 2·reach + 1)`` float32.

    Args:
        centre: where in the middle pixel they are, 0…1, ``(N, 2)``.
    """
    number = len(centre)

    def each(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (number, 1, 1)).astype(np.float32)

    grid = np.arange(-reach, reach + 1, dtype=np.float32) + 0.5
    x, y = grid - centre[:, :1, None].astype(np.float32), grid[:, None] - centre[:, 1:, None].astype(np.float32)
    turn, stretch = each(0, np.pi), each(1, 1.15)
    along, across = (x * np.cos(turn) + y * np.sin(turn)) / stretch, (y * np.cos(turn) - x * np.sin(turn)) * stretch
    radius = slide.radius * each(0.85, 1.15)
    angle = np.arctan2(across, along)
    dents = each(0, 0.1) * np.cos(2 * angle + each(0, 6.3)) + each(0, 0.08) * np.cos(3 * angle + each(0, 6.3))
    away = np.hypot(along, across) / (radius * (1 + dents))
    blur = np.where(each(0, 1) < rng.uniform(0.1, 0.6), each(0.3, 0.45), each(0.1, 0.22))  # of the outline, in radii
    shape = 1 / (1 + np.exp(np.minimum((away - 0.9) / blur, 30)))
    return np.asarray(each(0.5, 1) * shape * (1 + 0.25 * (1 - away**2).clip(0)))


def _photograph(rng: Generator, light: np.ndarray, radius: float) -> np.ndarray:
    """The lamp, the lens, the blue of the stain, and the camera's noise: ``(H, W, 3)`` uint8 RGB."""
    size = light.shape[:2]
    light *= 1 + 0.2 * noise(rng, size, (3, 12, 48))  # texture
    uneven = noise(rng, size, (2, 3))
    light *= 1 + rng.uniform(0, 0.2) * uneven
    ground = rng.uniform(25, 80) * (1 + rng.uniform(0.2, 0.8) * uneven)
    ground += rng.uniform(10, 40) * cv2.GaussianBlur(light, (0, 0), 4 * radius)  # cells far out of focus
    light = ground + rng.uniform(130, 200) * cv2.GaussianBlur(light, (0, 0), rng.uniform(0.6, 1.3))
    light += np.sqrt(np.maximum(light, 0)) * rng.uniform(0, 0.4) * rng.standard_normal(size, np.float32)
    stain = (rng.uniform(0, 0.02), rng.uniform(0, 0.04), 1.0)
    grain = rng.uniform(0.5, 2) * rng.standard_normal(size, np.float32)
    image = cv2.merge([share * light + grain for share in stain])
    return np.asarray(np.clip(image, 0, 255).astype(np.uint8))
