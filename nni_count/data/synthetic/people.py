"""People: heads where the points are, and the bodies below them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from scipy.spatial import cKDTree

from nni_count.data.synthetic.paint import CIRCLE, CLOTHES, DARK, HAIR, SHIFT, SKIN, box, corners, fill, vary
from nni_count.data.synthetic.scene import Obstacle, Scene


class Part(NamedTuple):
    """What N people are painted of."""

    polygons: np.ndarray  # (N or 1, corners, 2), convex, in head radii about the head
    colours: np.ndarray  # (N, 3)
    shown: np.ndarray  # (N,), who has it
    line: int = cv2.LINE_AA  # how its outline is drawn


LEGS, BODY, HEAD, EYES = slice(0, 2), slice(0, 7), 7, 9  # among the parts


def body_parts(rng: Generator, scene: Scene) -> list[Part]:
    """What all people of the easy level are painted of, in order."""
    return _parts(rng, scene, SKIN, HAIR, CLOTHES, sharp=2.2)


def _parts(
    rng: Generator, scene: Scene, skins: np.ndarray, hairs: np.ndarray, clothes: np.ndarray, sharp: float
) -> list[Part]:
    """Palettes, and the head radius from which on folds and faces are worth painting."""
    number, radius = len(scene.points), scene.radius
    skin, hair = vary(rng, skins, number, 8), vary(rng, hairs, number, 8)
    shirt, trousers, hat = (vary(rng, palette, number) for palette in (clothes, DARK, clothes))
    pose = rng.choice(4, number, p=rng.dirichlet((3, 3, 1.5, 1.5)))  # facing us, away, left, right
    haired, long, hatted = rng.random((3, number)) < np.array((0.94, 0.3, rng.uniform(0, 0.4)))[:, None]
    everybody, detailed, faced = radius > 0, radius > sharp, pose != 1
    # narrow when seen from the side, short when seen from above
    wide = rng.uniform(0.85, 1.2, number) * np.array((1, 1, 0.72, 0.72))[pose]
    body = np.stack([wide, np.full(number, scene.body / 13.5)], 1)[:, None]
    lit = np.array((rng.choice((-0.35, 0.35)), -0.3))

    flank = np.array([(0.5, 1), (1.7, 1.75), (2.15, 2.6), (2.1, 6), (1.5, 7)])
    torso = np.concatenate([flank, flank[::-1] * (-1, 1)])
    sleeve = box(1.35, 2.8, 0.15, 3.4)
    leg = np.array([(0, 6.6), (1.5, 6.6), (1.2, 13.5), (0.15, 13.5)])
    start, end = np.deg2rad([(192, 0, 225, 90), (348, 360, 450, 315)])[:, pose, None]
    angle = start + (end - start) * np.linspace(0, 1, 14)  # the part of a head that hair covers
    scalp = np.stack([1.1 * np.cos(angle), 1.36 * np.sin(angle) - 0.05], -1)
    parts = [
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
    return [Part(*part) for part in parts]


def raised_arms(rng: Generator, scene: Scene, share: float) -> list[Part]:
    """Arms up, as at a concert; painted after the body. A hand has a head's colour."""
    number, radius = len(scene.points), scene.radius
    skin, sleeve = vary(rng, SKIN, number, 8), vary(rng, CLOTHES, number)
    parts = []
    for side in (-1, 1):
        raised = rng.random(number) < share
        hand = np.stack([side * rng.uniform(1.6, 3.2, number), rng.uniform(-3.4, -1.2, number)], 1)[:, None]
        shoulder, elbow = np.array([(1.9 * side, 2.4)]), np.array([(2.4 * side, 0.9)])
        upper = np.array([(-0.45, 0), (0.45, 0)])
        fore = np.concatenate([np.broadcast_to(elbow + 0.8 * upper, (number, 2, 2)), hand - 0.6 * upper], 1)
        parts += [
            (np.concatenate([shoulder + upper, elbow - upper])[None], sleeve, raised),
            (fore, skin * 0.9, raised),
            (CIRCLE[None] * (0.42, 0.5) + hand, skin, raised & (radius > 2.2)),
        ]
    return [Part(*part) for part in parts]


def _add_features(parts: list[Part], radius: np.ndarray) -> None:
    """Eyes, nose and mouth of the faces near the camera, in place of a stroke for the eyes."""
    stroke, skin = parts[EYES], parts[HEAD].colours
    near = stroke.shown & (radius > 6)
    parts[EYES] = stroke._replace(shown=stroke.shown & ~near)
    eye, brow = CIRCLE[None] * (0.16, 0.09), box(-0.26, -0.05, 0.52, 0.1)[None]
    features = [
        *((eye + np.array((0.4 * side, 0.02)), skin * 0.25, near) for side in (-1, 1)),
        *((brow + np.array((0.4 * side, -0.17)), skin * 0.4, near) for side in (-1, 1)),
        (np.array([[(-0.02, 0.05), (0.17, 0.42), (-0.15, 0.42)]]), skin * 0.8, near),
        (CIRCLE[None] * (0.3, 0.08) + (0, 0.72), skin * (0.7, 0.45, 0.45), near),
    ]
    parts += [Part(*part) for part in features]


def _behind_somebody(scene: Scene) -> np.ndarray:
    """Whose legs are behind another's body: ``(N,)`` bool."""
    depth = scene.points[:, 1] - scene.horizon
    ground = np.stack([(scene.points[:, 0] - scene.size[1] / 2) / depth, np.log(depth)], 1) / scene.growth
    before = ground + np.array((0, 0.3 * scene.body))  # in head radii
    return np.asarray(np.isfinite(cKDTree(ground).query(before, distance_upper_bound=0.9)[0]))


def mixed_looks(rng: Generator, scene: Scene) -> list[Part]:
    """Parts for the harder levels: sometimes all wear few colours, sometimes arms are up."""

    def few(palette: np.ndarray, chance: float) -> np.ndarray:
        """One to three neighbours of a palette, or all of it."""
        first, number = rng.integers(0, len(palette)), rng.integers(1, 4)
        return np.roll(palette, -first, 0)[:number] if rng.random() < chance else palette

    clothes = np.concatenate([CLOTHES, DARK])
    parts = _parts(rng, scene, few(SKIN, 0.5), few(HAIR, 0.6), few(clothes, 0.35), sharp=3.5)
    # what follows can hardly be seen, and saves time
    parts[BODY] = [part._replace(line=cv2.LINE_8) for part in parts[BODY]]
    seen = ~_behind_somebody(scene)
    parts[LEGS] = [leg._replace(shown=leg.shown & seen) for leg in parts[LEGS]]
    _add_features(parts, scene.radius)
    if rng.random() < 0.25:
        parts += raised_arms(rng, scene, rng.uniform(0.05, 0.6))
    return parts


def paint_people(
    rng: Generator, scene: Scene, image: np.ndarray, looks: Callable[[Generator, Scene], list[Part]] = body_parts
) -> np.ndarray:
    """From far to near, so that those in front hide those behind, over soft shadows; the far ones fade into haze.

    Obstacles are painted when all who stand behind them are there.
    """
    centre, radius = scene.points[:, None], scene.radius[:, None, None]
    side, shadow = rng.uniform(-2, 2), np.full(scene.size, 255, np.uint8)
    for outline in corners((CIRCLE * (2 + abs(side), 0.8) + (side, scene.body)) * radius + centre):
        cv2.fillConvexPoly(shadow, outline, (120,), cv2.LINE_AA, SHIFT)
    soft = cv2.merge([cv2.GaussianBlur(shadow, (0, 0), 1.5 * scene.unit)] * 3)
    image = np.asarray(cv2.multiply(image, soft, scale=1 / 255))
    lean, shade = rng.normal(0, 0.08, len(centre)), rng.uniform(0.75, 1.15, (len(centre), 1))
    turn = np.stack([np.cos(lean), np.sin(lean), -np.sin(lean), np.cos(lean)], 1).reshape(-1, 2, 2)
    haze = rng.uniform(0, 0.4) * (1 - (scene.points[:, 1:] - scene.top) / (scene.size[0] - scene.top))
    strokes: list[list[tuple[np.ndarray, list[float], int]]] = [[] for _ in centre]
    for polygons, colours, shown, line in looks(rng, scene):
        who = np.flatnonzero(shown)
        own = polygons if len(polygons) == 1 else polygons[who]
        outlines = corners(own @ turn[who] * radius[who] + centre[who])
        hazy = (colours * shade * (1 - haze) + 190 * haze)[who].tolist()
        for person, outline, colour in zip(who.tolist(), outlines, hazy, strict=True):
            strokes[person].append((outline, colour, line))
    obstacles = list(scene.obstacles)
    for person, depth in enumerate(scene.points[:, 1].tolist()):
        while obstacles and obstacles[0].depth < depth:
            _paint_obstacle(image, obstacles.pop(0))
        for outline, colour, line in strokes[person]:
            cv2.fillConvexPoly(image, outline, colour, line, SHIFT)
    for obstacle in obstacles:
        _paint_obstacle(image, obstacle)
    return image


def _paint_obstacle(image: np.ndarray, obstacle: Obstacle) -> None:
    for polygon, colour in obstacle.parts:
        fill(image, polygon, colour)
