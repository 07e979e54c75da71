"""Where the camera looks and who stands there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.random import Generator
from scipy.spatial import cKDTree

from nni_count.data.synthetic.paint import Pair

SPACING = 1.6  # heads nearer to one another than this, in head radii, would hide one another wholly


@dataclass(frozen=True)
class Obstacle:
    """Something that people stand behind: convex polygons with their colours, painted in order.

    Its ``depth`` is the height in the image of the heads it stands in line with: it hides heads above that height.
    """

    depth: float
    parts: list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Scene:
    """The camera's view, and people sorted from far to near; pixels throughout."""

    size: Pair
    unit: float  # 1 at 256 × 256
    top: float  # where the farthest heads are
    horizon: float  # height at which heads would vanish; may lie above the image
    growth: float  # head radius per pixel below the horizon
    body: float  # from head centre to feet, in head radii; short when seen from above
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    radius: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (N,), half a head's width
    obstacles: tuple[Obstacle, ...] = ()  # from far to near

    def radius_at(self, y: Any) -> Any:
        return (y - self.horizon) * self.growth

    def with_people(self, rng: Generator, points: np.ndarray) -> Scene:
        """People at points ``(N, 2)``, of about the size that their place asks for."""
        points = points[np.argsort(points[:, 1], kind="stable")]
        radius = self.radius_at(points[:, 1]) * np.exp(rng.normal(0, 0.08, len(points)))
        return replace(self, points=points, radius=radius)


def draw_number(rng: Generator, people: Pair) -> int:
    """How many there are; its logarithm is spread evenly."""
    number = int(math.exp(rng.uniform(math.log(people[0] + 1), math.log(people[1] + 2)))) - 1
    return min(max(number, people[0]), people[1])  # whatever the rounding did


def looking_down(rng: Generator, size: Pair, top: float, near: float, far: float, level: bool) -> Scene:
    """The view of a camera that sees the nearest and the farthest heads at two radii."""
    growth = (near - far) / (size[0] - top)
    body = rng.uniform(9, 13) if level else rng.uniform(4, 8)
    return Scene(size, math.sqrt(size[0] * size[1]) / 256, top, top - far / growth, growth, body)


def draw_scene(rng: Generator, size: Pair, people: Pair) -> Scene:
    """A scene of the easy level."""
    height, width = size
    unit = math.sqrt(height * width) / 256
    number = draw_number(rng, people)
    ratio = math.exp(rng.uniform(math.log(1.3), math.log(4.5)))  # nearest to farthest head
    top = height * rng.uniform(0.12, 0.4) if ratio > 1.8 else 0.0
    room = math.sqrt(width * (height - top) / (9 * max(number, 1)))  # a radius at which they just find room
    near = min(rng.uniform(4.5, 12.5) * unit, 1.5 * room)
    far = max(near / ratio, min(1.6 * unit, near / 1.3))
    view = looking_down(rng, size, top, near, far, ratio > 1.8)
    return view.with_people(rng, _place(rng, view, number))


def gathering(rng: Generator, points: np.ndarray, view: Scene) -> np.ndarray:
    """The logarithm of how much people like to stand at points, uneven and in groups: ``(N,)``."""
    low, high = np.array((0.0, view.top)), np.array(view.size[::-1], np.float64)
    place = (points - low) / (high - low)
    waves = rng.normal(0, 4, (4, 2))
    field = np.cos(place @ waves.T + rng.uniform(0, 2 * np.pi, 4)).sum(1) * rng.uniform(0, 1.2)
    for centre in rng.uniform(0, 1, (rng.integers(0, 6), 2)):  # groups
        field += rng.uniform(1, 4) * np.exp(-((place - centre) ** 2).sum(1) / (2 * rng.uniform(0.04, 0.15) ** 2))
    # a row of pixels shows more of a level ground, and so more people, the farther it is
    field -= rng.uniform(0, 1.6) * np.log(points[:, 1] - view.horizon)
    return np.asarray(field)


def _place(rng: Generator, view: Scene, number: int) -> np.ndarray:
    """Heads in uneven density, as far as possible apart."""
    height, width = view.size
    low, high = np.array((0.0, view.top)), np.array((width, height), np.float64)
    candidates = rng.uniform(low, high, (8 * number + 64, 2))
    field = gathering(rng, candidates, view)
    waiting = candidates[np.argsort(-(field + rng.gumbel(size=len(field))))]  # a weighted draw without replacement
    chosen, waiting = waiting[:number], waiting[number:]
    for _ in range(8):
        depth = chosen[:, 1] - view.horizon
        # on these axes a distance has the same meaning near and far
        ground = np.stack([(chosen[:, 0] - width / 2) / depth, np.log(depth)], 1)
        pairs = cKDTree(ground).query_pairs(SPACING * view.growth, output_type="ndarray")
        crowded = np.unique(pairs.max(1, initial=0))[: len(waiting)]
        chosen = np.concatenate([np.delete(chosen, crowded, 0), waiting[: len(crowded)]])
        waiting = waiting[len(crowded) :]
    return np.clip(chosen, 0, np.nextafter(high, 0))
