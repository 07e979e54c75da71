"""Umbrellas, flags, signs, lamps, balloons, railings and trees: people stand behind them, some look like heads."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

from nni_count.data.synthetic.paint import CIRCLE, CLOTHES, box, vary
from nni_count.data.synthetic.scene import Obstacle, Scene

Parts = list[tuple[np.ndarray, np.ndarray]]
METAL = np.array([(60, 62, 66), (120, 122, 126), (180, 182, 186), (110, 84, 60)])
BRIGHT = np.array([(214, 40, 44), (36, 70, 170), (30, 130, 70), (240, 200, 40), (240, 240, 236), (30, 30, 34)])
MOST_COVERED = 0.3  # of the image


def draw_obstacles(rng: Generator, view: Scene, people: int, strength: float) -> tuple[Obstacle, ...]:
    """What stands in the way, from far to near: few things where few people are."""
    height, width = view.size
    obstacles: list[Obstacle] = []
    free = MOST_COVERED * strength * height * width
    for make, chance, most in AMONG_PEOPLE:
        if rng.random() < chance * strength:
            number = rng.integers(1, min(most, 2 + people // 4) + 1)
            for x, y in rng.uniform((0, view.top), (width, height), (number, 2)):
                obstacles.append(Obstacle(y, make(rng, view, x, y)))
    for make_front, chance in IN_FRONT:
        if rng.random() < chance * strength:
            obstacles.append(Obstacle(2 * height, make_front(rng, view)))
    kept = []
    for obstacle in obstacles:
        free -= sum(cv2.contourArea(polygon.astype(np.float32)) for polygon, _ in obstacle.parts)
        if free > 0:
            kept.append(obstacle)
    return tuple(sorted(kept, key=lambda obstacle: obstacle.depth))


def umbrella(rng: Generator, view: Scene, x: float, y: float) -> Parts:
    """Held over the head at ``x``, ``y``; seen from above it is round."""
    radius = view.radius_at(y)
    wide, tip = rng.uniform(2.5, 4) * radius, y - rng.uniform(1.6, 3) * radius
    middle = np.array((x, tip))  # of the rim
    colours = vary(rng, BRIGHT if rng.random() < 0.5 else CLOTHES, 1).repeat(2, 0) * [[1], [rng.uniform(0.6, 0.9)]]
    if rng.random() < 0.3:
        colours[1] = vary(rng, BRIGHT, 1)[0]
    if view.body < 8.5:
        rim = wide * np.stack([np.cos(np.linspace(0, 2 * np.pi, 9)), 0.8 * np.sin(np.linspace(0, 2 * np.pi, 9))], 1)
        return [(np.array([(0, 0), *rim[i : i + 2]]) + middle, colours[i % 2]) for i in range(8)]
    tall = wide * rng.uniform(0.4, 0.8)
    dome = np.array([(math.cos(a) * wide, math.sin(a) * tall) for a in np.linspace(math.pi, 2 * math.pi, 13)])
    parts: Parts = [(box(x - 0.06 * radius, tip, 0.12 * radius, 3 * radius), METAL[0]), (dome + middle, colours[0])]
    rib = -wide * np.cos(np.linspace(0, math.pi, 7))
    gores = [np.array([(0, -tall), (rib[i], 0), (rib[i + 1], 0)]) for i in (1, 3, 5)]
    return parts + [(gore + middle, colours[1]) for gore in gores]


def flag(rng: Generator, view: Scene, x: float, y: float) -> Parts:
    """A cloth of two or three bands that waves on a pole."""
    radius = view.radius_at(y)
    top, wide, tall = y - rng.uniform(6, 14) * radius, rng.uniform(4, 8) * radius, rng.uniform(2.5, 4.5) * radius
    bands, side = vary(rng, BRIGHT, int(rng.integers(1, 4)), 6), rng.choice((-1, 1))
    wave = 0.2 * tall * np.sin(np.linspace(0, rng.uniform(3, 7), 7) + rng.uniform(0, 6))
    wave += rng.uniform(-0.2, 0.5) * tall * np.linspace(0, 1, 7)  # the free end hangs
    parts: Parts = [(box(x, top, 0.2 * radius, y + 2 * radius - top), METAL[1])]
    for i in range(6):
        light = 1 + 3 * (wave[i + 1] - wave[i]) / tall * 0.3
        for j, colour in enumerate(bands):
            left, right = x + side * wide * i / 6, x + side * wide * (i + 1) / 6
            high, low = top + tall * j / len(bands), top + tall * (j + 1) / len(bands)
            cloth = [(left, high + wave[i]), (right, high + wave[i + 1]), (right, low + wave[i + 1])]
            parts.append((np.array([*cloth, (left, low + wave[i])]), colour * light))
    return parts


def sign(rng: Generator, view: Scene, x: float, y: float) -> Parts:
    """A board with some lines of writing, held up."""
    radius = view.radius_at(y)
    wide, tall = rng.uniform(2, 6) * radius, rng.uniform(1.4, 3) * radius
    top, ink = y - rng.uniform(2, 3) * radius - tall, vary(rng, BRIGHT[[0, 1, 5]], 1)[0]
    parts: Parts = [
        (box(x - 0.1 * radius, top, 0.2 * radius, y + radius - top), METAL[3]),
        (box(x - wide / 2, top, wide, tall), vary(rng, np.array([(236, 234, 226), (224, 206, 160)]), 1)[0]),
    ]
    lines = int(rng.integers(1, 4))
    for line in range(lines):
        start, stop = rng.uniform(0.05, 0.2), rng.uniform(0.6, 0.95)
        for left in np.arange(start, stop, 0.12):
            place = (x + (left - 0.5) * wide, top + (line + 0.2) * tall / lines)
            parts.append((box(*place, 0.09 * wide, rng.uniform(0.4, 0.65) * tall / lines), ink))
    return parts


def lamp(rng: Generator, view: Scene, x: float, y: float) -> Parts:
    """A mast with one to three globes, round and bright like faces."""
    radius = view.radius_at(y)
    top, thick = y - rng.uniform(4, 14) * radius, rng.uniform(0.2, 0.5) * radius
    parts: Parts = [(box(x - thick / 2, top, thick, y + 8 * radius - top), METAL[rng.integers(0, 2)])]
    glass, size = rng.uniform((190, 170, 130), (255, 250, 240)), rng.uniform(0.7, 1.3) * radius
    for side in ((0,), (-1, 1), (-1, 0, 1))[rng.integers(0, 3)]:
        globe = CIRCLE * size + (x + 2 * side * size, top - 0.3 * (side == 0) * size)
        parts += [(globe, glass * 0.85), (0.6 * (globe - globe.mean(0)) + globe.mean(0), glass)]
    return parts


def balloons(rng: Generator, view: Scene, x: float, y: float) -> Parts:
    """A bunch of them on strings, lit from above."""
    radius = view.radius_at(y)
    parts: Parts = []
    for colour in vary(rng, np.concatenate([BRIGHT, CLOTHES]), int(rng.integers(1, 6))):
        size = rng.uniform(0.8, 1.8) * radius
        centre = np.array((x, y)) + radius * rng.uniform((-3, -9), (3, -3))
        parts.append((np.array([centre, (x, y), (x + 0.1 * radius, y)]), METAL[2]))
        parts.append((CIRCLE * (size, 1.2 * size) + centre, colour))
        parts.append((CIRCLE * (0.3 * size, 0.35 * size) + centre - (0.35 * size, 0.5 * size), colour * 0.4 + 150))
    return parts


def railing(rng: Generator, view: Scene) -> Parts:
    """Bars from side to side, before everybody."""
    height, width = view.size
    level = rng.uniform(0.4, 0.95) * height
    radius = view.radius_at(max(level, view.top + 0.3 * (height - view.top)))
    colour, bar, step = vary(rng, METAL, 1)[0], rng.uniform(0.12, 0.35) * radius, rng.uniform(1.5, 5) * radius
    tall = rng.uniform(4, 8) * radius
    bars = [box(-0.2 * width, level + drop * tall, 1.4 * width, bar) for drop in (0, *rng.uniform(0.3, 1, 2))]
    bars += [box(x, level, 0.7 * bar, tall) for x in np.arange(-0.2 * width, 1.2 * width, step)]
    tilt, centre = math.tan(rng.normal(0, 0.06)), width / 2
    return [(bar + (bar[:, :1] - centre) * (0, tilt), colour * rng.uniform(0.85, 1.15)) for bar in bars]


def tree(rng: Generator, view: Scene) -> Parts:
    """A crown that hangs into the image from above, with gaps between the leaves."""
    height, width = view.size
    reach = rng.uniform(0.1, 0.3) * min(height, width)
    centre = rng.uniform((0, -0.05 * height), (width, 0.25 * height))
    green = rng.uniform((30, 50, 20), (90, 120, 55))
    parts: Parts = [(box(centre[0], centre[1], 0.12 * reach, rng.uniform(0.5, 3) * reach), np.array((70, 54, 42)))]
    for offset, size in zip(rng.normal(0, 0.45, (150, 2)), rng.uniform(0.04, 0.13, (150, 2)), strict=True):
        parts.append((centre + reach * (offset + CIRCLE * size), green * rng.uniform(0.5, 1.4)))
    return parts


#: what makes it, how often it is in an image at full strength, and how many there are at most
AMONG_PEOPLE: tuple[tuple[Callable[[Generator, Scene, float, float], Parts], float, int], ...] = (
    (umbrella, 0.3, 40),
    (flag, 0.25, 12),
    (sign, 0.25, 12),
    (lamp, 0.3, 5),
    (balloons, 0.2, 6),
)
IN_FRONT: tuple[tuple[Callable[[Generator, Scene], Parts], float], ...] = ((railing, 0.2), (tree, 0.25))
