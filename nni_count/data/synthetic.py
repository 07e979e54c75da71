"""Synthetic crowds: pictures of 5 to 300 people whose heads are known exactly, to learn, test and demonstrate on.

A camera looks down on a ground with a horizon, so heads shrink with the distance. People gather in groups, hide one
another, differ in skin, hair, hats and clothes, and stand before buildings and trees, among poles and head-coloured
things that are no heads. An image depends on its seed and its number alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.random import Generator, default_rng
from scipy.spatial import cKDTree

from nni_count.data.sample import Sample
from nni_count.errors import SettingError

Pair = tuple[int, int]
SKIN = np.array([(247, 215, 190), (232, 190, 158), (206, 156, 122), (168, 118, 84), (122, 82, 58), (84, 56, 42)])
HAIR = np.array([(24, 20, 20), (44, 32, 26), (72, 48, 32), (110, 76, 48), (176, 140, 88), (190, 186, 182)])
DARK = np.array([(32, 34, 44), (58, 62, 74), (44, 62, 112), (150, 40, 44), (52, 92, 66), (92, 70, 112)])
CLOTHES = np.array([*DARK, (226, 226, 222), (196, 168, 120), (210, 120, 60), (92, 140, 186), (224, 196, 70)])
GROUNDS = np.array([(126, 126, 128), (158, 152, 144), (104, 122, 78), (182, 164, 132), (150, 122, 108), (96, 98, 106)])

CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 14)), np.sin(np.linspace(0, 2 * np.pi, 14))], 1)
SPACING = 1.6  # heads nearer to one another than this, in head radii, would hide one another wholly
SHIFT = 4  # bits after the point in OpenCV's coordinates


def synthetic_crowds(
    number: int, *, seed: int = 0, start: int = 0, size: Pair = (256, 256), people: Pair = (5, 300)
) -> list[Sample]:
    """Samples of synthetic crowds. The points are drawn at once, an image whenever it is read.

    Image ``start + i`` is a function of the seed and its number: it is the same however many are asked for, and in
    every process. So ``start`` keeps test images apart from training images of the same seed.

    Args:
        number: how many samples.
        seed, start: the seed, and the number of the first image; at least 0.
        size: height and width in pixels, at least 32 each; heads grow with them.
        people: fewest and most people in an image; the logarithm of the count is spread evenly between.

    Returns:
        Samples named ``synthetic-{seed}-{number}``; points are the centres of the heads, inside the image.

    Raises:
        SettingError: when an argument is out of its range.
    """
    if min(number, seed, start) < 0:
        raise SettingError(f"synthetic crowds: number {number}, seed {seed} and start {start} must not be negative")
    if min(size) < 32 or not 0 <= people[0] <= people[1]:
        wanted = "give at least 32 × 32 pixels, and the fewest and the most people"
        raise SettingError(f"synthetic crowds: size {tuple(size)}, people {tuple(people)}; {wanted}")
    samples = []
    for index in range(start, start + number):
        scene = _draw_scene(default_rng((seed, index)), size, people)
        read = partial(_render, seed, index, size, people)  # unlike a lambda, it can be sent to a worker process
        samples.append(Sample(f"synthetic-{seed}-{index:05d}", scene.points, read))
    return samples


@dataclass(frozen=True)
class _Scene:
    """Where the camera looks and who stands there, sorted from far to near; pixels throughout."""

    size: Pair
    unit: float  # 1 at 256 × 256
    top: float  # where the farthest heads are
    horizon: float  # height at which heads would vanish; may lie above the image
    growth: float  # head radius per pixel below the horizon
    body: float  # from head centre to feet, in head radii; short when seen from above
    points: np.ndarray  # (N, 2)
    radius: np.ndarray  # (N,), half a head's width

    def radius_at(self, y: float) -> float:
        return (y - self.horizon) * self.growth


def _draw_scene(rng: Generator, size: Pair, people: Pair) -> _Scene:
    height, width = size
    unit = math.sqrt(height * width) / 256
    number = int(math.exp(rng.uniform(math.log(people[0] + 1), math.log(people[1] + 2)))) - 1
    number = min(max(number, people[0]), people[1])  # whatever the rounding did
    ratio = math.exp(rng.uniform(math.log(1.3), math.log(4.5)))  # nearest to farthest head
    top = height * rng.uniform(0.12, 0.4) if ratio > 1.8 else 0.0
    room = math.sqrt(width * (height - top) / (9 * max(number, 1)))  # a radius at which they just find room
    near = min(rng.uniform(4.5, 12.5) * unit, 1.5 * room)
    far = max(near / ratio, min(1.6 * unit, near / 1.3))
    growth = (near - far) / (height - top)
    horizon = top - far / growth
    body = rng.uniform(9, 13) if ratio > 1.8 else rng.uniform(4, 8)
    points = _place(rng, number, size, top, horizon, SPACING * growth)
    points = points[np.argsort(points[:, 1], kind="stable")]
    radius = (points[:, 1] - horizon) * growth * np.exp(rng.normal(0, 0.08, number))
    return _Scene(size, unit, top, horizon, growth, body, points, radius)


def _place(rng: Generator, number: int, size: Pair, top: float, horizon: float, spacing: float) -> np.ndarray:
    """Heads in uneven density, as far as possible ``spacing`` apart (pixels per pixel below the horizon)."""
    height, width = size
    low, high = np.array((0.0, top)), np.array((width, height), np.float64)
    candidates = rng.uniform(low, high, (8 * number + 64, 2))
    depth = candidates[:, 1] - horizon
    place = (candidates - low) / (high - low)
    waves = rng.normal(0, 4, (4, 2))
    field = np.cos(place @ waves.T + rng.uniform(0, 2 * np.pi, 4)).sum(1) * rng.uniform(0, 1.2)
    for centre in rng.uniform(0, 1, (rng.integers(0, 6), 2)):  # groups
        field += rng.uniform(1, 4) * np.exp(-((place - centre) ** 2).sum(1) / (2 * rng.uniform(0.04, 0.15) ** 2))
    # a row of pixels shows more of a level ground, and so more people, the farther it is
    field -= rng.uniform(0, 1.6) * np.log(depth)
    waiting = candidates[np.argsort(-(field + rng.gumbel(size=len(field))))]  # a weighted draw without replacement
    chosen, waiting = waiting[:number], waiting[number:]
    for _ in range(8):
        depth = chosen[:, 1] - horizon
        # on these axes a distance of `spacing` has the same meaning near and far
        ground = np.stack([(chosen[:, 0] - width / 2) / depth, np.log(depth)], 1)
        pairs = cKDTree(ground).query_pairs(spacing, output_type="ndarray")
        crowded = np.unique(pairs.max(1, initial=0))[: len(waiting)]
        chosen = np.concatenate([np.delete(chosen, crowded, 0), waiting[: len(crowded)]])
        waiting = waiting[len(crowded) :]
    return np.clip(chosen, 0, np.nextafter(high, 0))


def _render(seed: int, index: int, size: Pair, people: Pair) -> np.ndarray:
    """Paint an image: ``(H, W, 3)`` uint8 RGB."""
    rng = default_rng((seed, index))
    scene = _draw_scene(rng, size, people)
    image = _paint_ground(rng, scene)
    _paint_backdrop(rng, scene, image)
    _paint_clutter(rng, scene, image)
    return _photograph(rng, scene, _paint_people(rng, scene, image))


def _noise(rng: Generator, size: Pair, cells: tuple[int, ...]) -> np.ndarray:
    """Smooth noise of several rising numbers of cells a side, about -1…1: ``(H, W)`` float32."""
    total: np.ndarray = np.zeros((1, 1), np.float32)
    for side in cells:
        total = cv2.resize(total, (side, side)) + rng.standard_normal((side, side), np.float32)
    return np.asarray(cv2.resize(total, size[::-1], interpolation=cv2.INTER_CUBIC)) / len(cells)


def _vary(rng: Generator, colours: np.ndarray, number: int, spread: float = 12) -> np.ndarray:
    """``(number, 3)`` colours near those of a palette."""
    chosen = colours[rng.integers(0, len(colours), number)]
    return np.asarray(chosen + rng.normal(0, spread / 2, (number, 3)) + rng.normal(0, spread, (number, 1)))


def _corners(polygons: np.ndarray) -> np.ndarray:
    """For OpenCV, in whose pixels the first one's centre is 0 and not 0.5 as in ours."""
    return np.round((polygons - 0.5) * (1 << SHIFT)).astype(np.int32)


def _fill(image: np.ndarray, polygon: np.ndarray, colour: np.ndarray | tuple[float, ...]) -> None:
    """Fill a convex polygon."""
    cv2.fillConvexPoly(image, _corners(polygon), tuple(map(float, colour)), cv2.LINE_AA, SHIFT)


def _box(x: float, y: float, width: float, height: float) -> np.ndarray:
    return np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)])


def _paint_ground(rng: Generator, scene: _Scene) -> np.ndarray:
    """Stone, grass or sand that recedes towards the horizon: ``(H, W, 3)`` uint8."""
    height, width = scene.size
    texture = 9 * _noise(rng, (256, 256), (4, 16, 64))
    texture += rng.uniform(3, 12) * rng.standard_normal((256, 256), np.float32)
    if rng.random() < 0.5:  # slabs
        step, shade = int(rng.integers(12, 48)), rng.uniform(-30, -8)
        texture[::step] += shade
        texture[:, ::step] += shade
    if rng.random() < 0.3:  # stripes
        texture += rng.uniform(6, 20) * np.sign(np.sin(np.arange(256) / rng.uniform(3, 12))).astype(np.float32)
    scale = 3 / scene.growth  # three texture pixels a head radius
    to_ground = np.array([[1, 0, -width / 2], [0, 0, height - scene.horizon], [0, 1 / scale, -scene.horizon / scale]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    texture = cv2.warpPerspective(texture, to_ground, (width, height), None, flags, cv2.BORDER_REFLECT)
    texture += 14 * _noise(rng, scene.size, (3, 7))
    colours, contrasts = _vary(rng, GROUNDS, 1)[0].tolist(), rng.uniform(0.8, 1.1, 3).tolist()
    image = cv2.merge([texture * contrast + colour for colour, contrast in zip(colours, contrasts, strict=True)])
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def _paint_backdrop(rng: Generator, scene: _Scene, image: np.ndarray) -> None:
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
        _fill(image, _box(left, roof, wide, base - roof), wall)
        step = rng.uniform(7, 16) * unit
        pane, glass = step * rng.uniform(0.3, 0.6, 2), wall * rng.uniform(0.45, 0.8)
        for y in np.arange(max(roof, -step) + 0.4 * step, base - step, step):
            for x in np.arange(left + 0.3 * step, left + wide - 0.6 * step, step):
                if -step < x < width:
                    _fill(image, _box(x, y, *pane), glass * rng.uniform(0.85, 1.15))
        left += wide * rng.uniform(0.8, 1.2)
    for _ in range(rng.integers(0, 4)):  # trees: leaves as blots of many greens
        x, y, crown = rng.uniform(0, width), rng.uniform(0.5, 0.8) * base, rng.uniform(8, 26) * unit
        green = rng.uniform((40, 60, 25), (90, 120, 60))
        _fill(image, _box(x - 0.08 * crown, y, 0.16 * crown, base - y), (70, 54, 42))
        for offset in rng.normal(0, 0.45, (30, 2)):
            _fill(image, (x, y) + crown * (offset + CIRCLE * (0.28, 0.24)), green * rng.uniform(0.6, 1.35))


def _paint_clutter(rng: Generator, scene: _Scene, image: np.ndarray) -> None:
    """Things with the colour and size of heads, and poles; people come before them all."""
    height, width = scene.size
    number = int(rng.integers(0, 25))
    colours = _vary(rng, np.concatenate([SKIN, HAIR, CLOTHES]), number)
    for (x, y), colour in zip(rng.uniform((0, scene.top), (width, height), (number, 2)), colours, strict=True):
        shape = CIRCLE * (1, rng.uniform(0.5, 1.3)) if rng.random() < 0.6 else _box(-1, -1, *rng.uniform(1, 2.4, 2))
        for scale, light in ((1.0, 0), (0.5, 20)):
            _fill(image, (x, y) + scale * scene.radius_at(y) * rng.uniform(0.6, 1.3) * shape, colour + light)
    for x, foot in rng.uniform((0, scene.top + 0.1 * height), (width, height), (rng.integers(0, 4), 2)):
        radius = scene.radius_at(foot)
        tall, thick = rng.uniform(8, 24) * radius, rng.uniform(0.2, 0.4) * radius
        _fill(image, _box(x, foot - tall, thick, tall), rng.uniform(30, 120) + rng.normal(0, 8, 3))
        lamp = (x + thick / 2, foot - tall) + rng.uniform(0.5, 1.1) * radius * CIRCLE  # round like a head
        _fill(image, lamp, rng.uniform(150, 250, 3))


def _body_parts(rng: Generator, scene: _Scene) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """What all people are painted of, in order: polygons in head radii about the head, colours, and who has them."""
    number, radius = len(scene.points), scene.radius
    skin, hair = _vary(rng, SKIN, number, 8), _vary(rng, HAIR, number, 8)
    shirt, trousers, hat = (_vary(rng, palette, number) for palette in (CLOTHES, DARK, CLOTHES))
    pose = rng.choice(4, number, p=rng.dirichlet((3, 3, 1.5, 1.5)))  # facing us, away, left, right
    haired, long, hatted = rng.random((3, number)) < np.array((0.94, 0.3, rng.uniform(0, 0.4)))[:, None]
    everybody, detailed, faced = radius > 0, radius > 2.2, pose != 1
    # narrow when seen from the side, short when seen from above
    wide = rng.uniform(0.85, 1.2, number) * np.array((1, 1, 0.72, 0.72))[pose]
    body = np.stack([wide, np.full(number, scene.body / 13.5)], 1)[:, None]
    lit = np.array((rng.choice((-0.35, 0.35)), -0.3))

    flank = np.array([(0.5, 1), (1.7, 1.75), (2.15, 2.6), (2.1, 6), (1.5, 7)])
    torso = np.concatenate([flank, flank[::-1] * (-1, 1)])
    sleeve = _box(1.35, 2.8, 0.15, 3.4)
    leg = np.array([(0, 6.6), (1.5, 6.6), (1.2, 13.5), (0.15, 13.5)])
    start, end = np.deg2rad([(192, 0, 225, 90), (348, 360, 450, 315)])[:, pose, None]
    angle = start + (end - start) * np.linspace(0, 1, 14)  # the part of a head that hair covers
    scalp = np.stack([1.1 * np.cos(angle), 1.36 * np.sin(angle) - 0.05], -1)
    return [
        (leg * (-1, 1) * body, trousers, everybody),
        (leg * body, trousers * 0.85, everybody),
        (CIRCLE[None] * (1.25, 1.7) + (0, 0.55), hair * 0.9, long & haired & (radius > 1.8)),
        (torso * body, shirt, everybody),
        (flank * (-np.sign(lit[0]), 1) * body, shirt * 0.8, detailed),
        (sleeve * body, shirt * 0.6, detailed),
        (sleeve * (-1, 1) * body, shirt * 0.6, detailed),
        (CIRCLE[None] * (1, 1.28), skin, everybody),
        (CIRCLE[None] * (0.55, 0.75) + lit, skin * 1.07 + 6, detailed & faced),
        (CIRCLE[None] * (0.62, 0.14), skin * 0.62, (pose == 0) & (radius > 3)),  # eyes
        (scalp, hair, haired),
        (CIRCLE[None] * (1.45, 0.3) + (0, -0.42), hat * 0.75, hatted),
        (np.minimum(CIRCLE[None], (1, 0)) * (1.08, 1.1) + (0, -0.5), hat, hatted),
    ]


def _paint_people(rng: Generator, scene: _Scene, image: np.ndarray) -> np.ndarray:
    """From far to near, so that those in front hide those behind, over soft shadows; the far ones fade into haze."""
    centre, radius = scene.points[:, None], scene.radius[:, None, None]
    side, shadow = rng.uniform(-2, 2), np.full(scene.size, 255, np.uint8)
    for corners in _corners((CIRCLE * (2 + abs(side), 0.8) + (side, scene.body)) * radius + centre):
        cv2.fillConvexPoly(shadow, corners, (120,), cv2.LINE_AA, SHIFT)
    soft = cv2.merge([cv2.GaussianBlur(shadow, (0, 0), 1.5 * scene.unit)] * 3)
    image = np.asarray(cv2.multiply(image, soft, scale=1 / 255))
    lean, shade = rng.normal(0, 0.08, len(centre)), rng.uniform(0.75, 1.15, (len(centre), 1))
    turn = np.stack([np.cos(lean), np.sin(lean), -np.sin(lean), np.cos(lean)], 1).reshape(-1, 2, 2)
    haze = rng.uniform(0, 0.4) * (1 - (scene.points[:, 1:] - scene.top) / (scene.size[0] - scene.top))
    parts = []
    for polygons, colours, shown in _body_parts(rng, scene):
        corners = _corners(polygons @ turn * radius + centre)
        parts.append((corners, (colours * shade * (1 - haze) + 190 * haze).tolist(), shown.tolist()))
    for person in range(len(centre)):
        for corners, colours, shown in parts:
            if shown[person]:
                cv2.fillConvexPoly(image, corners[person], colours[person], cv2.LINE_AA, SHIFT)
    return image


def _photograph(rng: Generator, scene: _Scene, image: np.ndarray) -> np.ndarray:
    """Light and shade, a colour cast, a lens that is not quite sharp, and grain."""
    light = 1 + 0.2 * _noise(rng, scene.size, (3, 4))
    cast = rng.uniform(0.8, 1.25) * rng.uniform(0.94, 1.06, 3)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.35, 0.8) * max(scene.unit, 0.7)))
    lit = cv2.multiply(image, cv2.merge([light * c for c in cast.tolist()]), dtype=cv2.CV_32F)
    grain = rng.uniform(1, 7) * rng.standard_normal(scene.size, np.float32)
    return np.asarray(cv2.add(lit, cv2.merge([grain] * 3), dtype=cv2.CV_8U))
