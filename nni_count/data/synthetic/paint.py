"""Palettes, strokes and noise that pictures are painted with."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

Pair = tuple[int, int]

SKIN = np.array([(247, 215, 190), (232, 190, 158), (206, 156, 122), (168, 118, 84), (122, 82, 58), (84, 56, 42)])
HAIR = np.array([(24, 20, 20), (44, 32, 26), (72, 48, 32), (110, 76, 48), (176, 140, 88), (190, 186, 182)])
DARK = np.array([(32, 34, 44), (58, 62, 74), (44, 62, 112), (150, 40, 44), (52, 92, 66), (92, 70, 112)])
CLOTHES = np.array([*DARK, (226, 226, 222), (196, 168, 120), (210, 120, 60), (92, 140, 186), (224, 196, 70)])
GROUNDS = np.array([(126, 126, 128), (158, 152, 144), (104, 122, 78), (182, 164, 132), (150, 122, 108), (96, 98, 106)])

CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 14)), np.sin(np.linspace(0, 2 * np.pi, 14))], 1)
SHIFT = 4  # bits after the point in OpenCV's coordinates


def noise(rng: Generator, size: Pair, cells: tuple[int, ...]) -> np.ndarray:
    """Smooth noise of several rising numbers of cells a side, about -1…1: ``(H, W)`` float32."""
    total: np.ndarray = np.zeros((1, 1), np.float32)
    for side in cells:
        total = cv2.resize(total, (side, side)) + rng.standard_normal((side, side), np.float32)
    return np.asarray(cv2.resize(total, size[::-1], interpolation=cv2.INTER_CUBIC)) / len(cells)


def vary(rng: Generator, colours: np.ndarray, number: int, spread: float = 12) -> np.ndarray:
    """``(number, 3)`` colours near those of a palette."""
    chosen = colours[rng.integers(0, len(colours), number)]
    return np.asarray(chosen + rng.normal(0, spread / 2, (number, 3)) + rng.normal(0, spread, (number, 1)))


def corners(polygons: np.ndarray) -> np.ndarray:
    """For OpenCV, in whose pixels the first one's centre is 0 and not 0.5 as in ours."""
    return np.round((polygons - 0.5) * (1 << SHIFT)).astype(np.int32)


def fill(image: np.ndarray, polygon: np.ndarray, colour: np.ndarray | tuple[float, ...]) -> None:
    """Fill a convex polygon."""
    cv2.fillConvexPoly(image, corners(polygon), tuple(map(float, colour)), cv2.LINE_AA, SHIFT)


def box(x: float, y: float, width: float, height: float) -> np.ndarray:
    return np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)])
