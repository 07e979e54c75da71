"""Denser scenes, for the harder levels: heads of 4 to 60 pixels, packed up to touching, behind obstacles."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
from numpy.random import Generator

from nni_count.data.synthetic.obstacles import draw_obstacles
from nni_count.data.synthetic.paint import SHIFT, Pair, corners
from nni_count.data.synthetic.scene import SPACING, Obstacle, Scene, draw_number, gathering, looking_down

#: where a head is looked at to tell whether it is hidden, in head radii
LOOKS = np.stack(np.meshgrid((-0.7, 0, 0.7), (-0.9, 0, 0.9)), -1).reshape(-1, 2)


def draw_dense_scene(rng: Generator, size: Pair, people: Pair, strength: float) -> Scene:
    """A scene of a harder level; whoever is in it can be seen, if only in part."""
    number = draw_number(rng, people)
    view = _draw_view(rng, size, number)
    view = replace(view, obstacles=draw_obstacles(rng, view, number, strength))
    return view.with_people(rng, _place(rng, view, number))


def _draw_view(rng: Generator, size: Pair, number: int) -> Scene:
    """The camera alone, near enough for so many people to fill the image more or less."""
    height, width = size
    unit = math.sqrt(height * width) / 256
    ratio = math.exp(rng.uniform(math.log(1.2), math.log(8)))  # nearest to farthest head
    top = height * rng.uniform(0.05, 0.4) if ratio > 1.8 else 0.0
    crowding = math.exp(rng.uniform(math.log(4), math.log(16)))  # area for a head, in squares of its radius
    mean_square = (1 + 1 / ratio + 1 / ratio**2) / 3  # of the radius, where the nearest is 1
    room = math.sqrt(width * (height - top) / (crowding * mean_square * max(number, 1)))
    near = min(math.exp(rng.uniform(math.log(2.5), math.log(18))) * unit, room)
    far = min(max(near / ratio, 2.0), near / 1.1)
    return looking_down(rng, size, top, near, far, ratio > 1.8)


def _place(rng: Generator, view: Scene, number: int) -> np.ndarray:
    """Heads on a shaken lattice of the ground, so that none covers another wholly: ``(number, 2)``."""
    cover, spacing = cover_map(view.size, view.obstacles), SPACING * view.growth
    for _ in range(8):
        sites = _lattice(rng, view, spacing)
        sites = sites[~hidden(sites, view.radius_at(sites[:, 1]), cover)]
        if len(sites) >= number:
            break
        spacing *= 0.85
    else:  # hardly anything can be seen
        sites = rng.uniform((0, view.top), view.size[::-1], (number, 2))
    field = gathering(rng, sites, view) + _border(rng, sites, view.size)
    return sites[np.argsort(-(field + rng.gumbel(size=len(field))))[:number]]  # a weighted draw without replacement


def _lattice(rng: Generator, view: Scene, spacing: float) -> np.ndarray:
    """Points of the image about ``spacing`` (pixels per pixel below the horizon) apart, in no visible order."""
    height, width = view.size
    first, last = view.top - view.horizon, height - view.horizon  # pixels below the horizon
    # on these axes, x / depth and log(depth), a distance has the same meaning near and far
    low, high = np.array((-width / 2 / first, math.log(first))), np.array((width / 2 / first, math.log(last)))
    reach = int(np.hypot(*(high - low)) / spacing / 2) + 2
    column, row = np.meshgrid(np.arange(-reach, reach + 1.0), np.arange(-1.16 * reach, 1.16 * reach + 1) // 1)
    lattice = np.stack([column + 0.5 * (row % 2), row * math.sqrt(0.75)], -1).reshape(-1, 2)
    turn = rng.uniform(0, math.pi)
    lattice = lattice @ np.array([(math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn))])
    ground = (low + high) / 2 + spacing * (lattice + rng.uniform(-0.5, 0.5, 2))
    ground = ground[((ground > low - spacing) & (ground < high + spacing)).all(1)]
    ground += spacing * rng.uniform(-0.2, 0.2, ground.shape)
    depth = np.exp(ground[:, 1])
    points = np.stack([width / 2 + ground[:, 0] * depth, view.horizon + depth], 1)
    return points[((points >= (0, view.top)) & (points < (width, height))).all(1)]


def _border(rng: Generator, points: np.ndarray, size: Pair) -> np.ndarray:
    """Streets, stages and fences: lines that hardly anyone has crossed, as a term of the field."""
    field = np.zeros(len(points))
    for _ in range(rng.integers(0, 3)):
        angle = rng.uniform(0, 2 * math.pi)
        across = (points / size[::-1] - 0.5) @ np.array((math.cos(angle), math.sin(angle))) - rng.uniform(0.05, 0.45)
        field -= rng.uniform(2, 6) / (1 + np.exp(-across / rng.uniform(0.004, 0.03)))
    return field


def cover_map(size: Pair, obstacles: tuple[Obstacle, ...]) -> np.ndarray:
    """For every pixel the greatest depth of the obstacles that cover it, -1 where there is none: ``(H, W)``."""
    cover = np.full(size, -1, np.float32)
    for obstacle in obstacles:  # from far to near
        for polygon, _ in obstacle.parts:
            cv2.fillConvexPoly(cover, corners(polygon), obstacle.depth, cv2.LINE_8, SHIFT)
    return cover


def hidden(points: np.ndarray, radius: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Which heads obstacles hide by half or more: ``(N,)`` bool."""
    if cover.max() < 0:
        return np.zeros(len(points), bool)
    limit = np.array(cover.shape[::-1]) - 1
    x, y = np.moveaxis(np.clip(points[:, None] + LOOKS * radius[:, None, None], 0, limit).astype(int), -1, 0)
    return np.asarray((cover[y, x] > points[:, 1:]).mean(1) >= 0.5)
