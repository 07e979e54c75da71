"""The ground people stand on, and what stands behind and among them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from nni_count.data.synthetic.paint import CIRCLE, CLOTHES, GROUNDS, HAIR, SKIN, box, fill, noise, vary
from nni_count.data.synthetic.scene import Scene


def ground_texture(rng: Generator) -> np.ndarray:
    """Stone, grass or sand seen from above, three pixels a head radius: ``(256, 256)`` float32, about zero."""
    texture = 9 * noise(rng, (256, 256), (4, 16, 64))
    texture += rng.uniform(3, 12) * rng.standard_normal((256, 256), np.float32)
    if rng.random() < 0.5:  # slabs
        step, shade = int(rng.integers(12, 48)), rng.uniform(-30, -8)
        texture[::step] += shade
        texture[:, ::step] += shade
    if rng.random() < 0.3:  # stripes
        texture += rng.uniform(6, 20) * np.sign(np.sin(np.arange(256) / rng.uniform(3, 12))).astype(np.float32)
    return texture


def paint_ground(rng: Generator, scene: Scene, texture: np.ndarray, first: int = 0) -> np.ndarray:
    """The texture from a row on, receding towards the horizon: ``(H, W, 3)`` uint8."""
    height, width = scene.size
    scale = 3 / scene.growth  # three texture pixels a head radius
    to_ground = np.array([[1, 0, -width / 2], [0, 0, height - scene.horizon], [0, 1 / scale, -scene.horizon / scale]])
    to_ground[:, 2] += first * to_ground[:, 1]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    texture = cv2.warpPerspective(texture, to_ground, (width, height - first), None, flags, cv2.BORDER_REFLECT)
    ground = 14 * noise(rng, scene.size, (3, 7))
    ground[first:] += texture
    colours, contrasts = vary(rng, GROUNDS, 1)[0].tolist(), rng.uniform(0.8, 1.1, 3).tolist()
    image = cv2.merge([ground * contrast + colour for colour, contrast in zip(colours, contrasts, strict=True)])
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def paint_backdrop(rng: Generator, scene: Scene, image: np.ndarray) -> None:
    """What stands behind the farthest people: buildings before the sky, and trees."""
    width, unit = scene.size[1], scene.unit
    base = scene.top + 0.8 * scene.body * scene.radius_at(scene.top)
    if scene.top == 0 or (scene.horizon < 0 and rng.random() < 0.3):
        return
    rows = np.linspace(0, 1, int(base))[:, None, None]
    image[: len(rows)] = rng.uniform((120, 150, 180), (190, 210, 240)) * (1 - rows) + 225 * rows
    left = -rng.uniform(0, 0.2) * width
    while left < width and rng.random() < 0.93:
        wide, roof = rng.uniform(0.15, 0.6) * width, base * rng.uniform(-0.4, 0.6)
        wall = rng.uniform(70, 200) + rng.normal(0, 10, 3)
        fill(image, box(left, roof, wide, base - roof), wall)
        step = rng.uniform(7, 16) * unit
        pane, glass = step * rng.uniform(0.3, 0.6, 2), wall * rng.uniform(0.45, 0.8)
        for y in np.arange(max(roof, -step) + 0.4 * step, base - step, step):
            for x in np.arange(left + 0.3 * step, left + wide - 0.6 * step, step):
                if -step < x < width:
                    fill(image, box(x, y, *pane), glass * rng.uniform(0.85, 1.15))
        left += wide * rng.uniform(0.8, 1.2)
    for _ in range(rng.integers(0, 4)):  # trees: leaves as blots of many greens
        x, y, crown = rng.uniform(0, width), rng.uniform(0.5, 0.8) * base, rng.uniform(8, 26) * unit
        green = rng.uniform((40, 60, 25), (90, 120, 60))
        fill(image, box(x - 0.08 * crown, y, 0.16 * crown, base - y), (70, 54, 42))
        for offset in rng.normal(0, 0.45, (30, 2)):
            fill(image, (x, y) + crown * (offset + CIRCLE * (0.28, 0.24)), green * rng.uniform(0.6, 1.35))


def paint_clutter(rng: Generator, scene: Scene, image: np.ndarray) -> None:
    """Things with the colour and size of heads, and poles; people come before them all."""
    height, width = scene.size
    number = int(rng.integers(0, 25))
    colours = vary(rng, np.concatenate([SKIN, HAIR, CLOTHES]), number)
    for (x, y), colour in zip(rng.uniform((0, scene.top), (width, height), (number, 2)), colours, strict=True):
        shape = CIRCLE * (1, rng.uniform(0.5, 1.3)) if rng.random() < 0.6 else box(-1, -1, *rng.uniform(1, 2.4, 2))
        for scale, light in ((1.0, 0), (0.5, 20)):
            fill(image, (x, y) + scale * scene.radius_at(y) * rng.uniform(0.6, 1.3) * shape, colour + light)
    for x, foot in rng.uniform((0, scene.top + 0.1 * height), (width, height), (rng.integers(0, 4), 2)):
        radius = scene.radius_at(foot)
        tall, thick = rng.uniform(8, 24) * radius, rng.uniform(0.2, 0.4) * radius
        fill(image, box(x, foot - tall, thick, tall), rng.uniform(30, 120) + rng.normal(0, 8, 3))
        lamp = (x + thick / 2, foot - tall) + rng.uniform(0.5, 1.1) * radius * CIRCLE  # round like a head
        fill(image, lamp, rng.uniform(150, 250, 3))


def paved(rng: Generator) -> np.ndarray:
    """Round stones in rows, of the size of heads, to add to a texture: ``(256, 256)`` float32."""
    step = rng.uniform(5, 16)
    row, y = np.divmod(np.arange(256) / step, 1)
    column, x = np.divmod(np.arange(256) / step + 0.5 * (row[:, None] % 2), 1)
    stone = np.hypot(x - 0.5, (y - 0.5)[:, None]) < rng.uniform(0.3, 0.47)
    shades = rng.uniform(10, 45) * rng.choice((-1, 1)) + rng.normal(0, 10, (64, 64))
    return np.asarray(stone * shades[row.astype(int)[:, None], column.astype(int)], np.float32)


def paint_stones(rng: Generator, scene: Scene, image: np.ndarray, most: int) -> None:
    """Stones, bags and buckets on the ground: round, lit from above, and of the size of heads."""
    height, width = scene.size
    number = int(rng.integers(0, most + 1))
    colours = vary(rng, np.concatenate([GROUNDS, SKIN, HAIR, CLOTHES]), number, 20)
    heap = rng.uniform((0, scene.top), (width, height), (4, 2))[rng.integers(0, 4, number)]
    scatter = rng.normal(0, rng.uniform(0.03, 0.4), (number, 2)) * (width, height)
    places = np.clip(heap + scatter, (0, scene.top), (width, height))
    for (x, y), colour in zip(places[np.argsort(places[:, 1])], colours, strict=True):
        radius = scene.radius_at(y) * rng.uniform(0.5, 1.3)
        shape = CIRCLE * (1, rng.uniform(0.6, 1.2)) * radius
        place = np.array((x, y))
        fill(image, shape + place + radius * np.array((0.3, 0.4)), colour * 0.35)
        fill(image, shape + place, colour * 0.75)
        fill(image, 0.7 * shape + place - radius * np.array((0.15, 0.2)), colour)
