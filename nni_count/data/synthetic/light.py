"""Light on a scene: each kind gives what the image is multiplied with and what is added, ``(H, W, 3)`` float32."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

from nni_count.data.synthetic.paint import noise
from nni_count.data.synthetic.scene import Scene

FINE = 128  # light changes slowly: it is worked out on so many points a side
X, Y = np.meshgrid(np.linspace(0, 1, FINE), np.linspace(0, 1, FINE))
Light = tuple[np.ndarray, np.ndarray]  # gain and glow, (FINE, FINE, 3)


def daylight(rng: Generator, scene: Scene) -> Light:
    gain = rng.uniform(0.8, 1.2) * (1 + 0.2 * noise(rng, X.shape, (3, 4)))
    return gain[:, :, None] * rng.uniform(0.92, 1.08, 3), np.zeros(3)


def overcast(rng: Generator, scene: Scene) -> Light:
    """Grey and flat; haze takes the far part."""
    veil = rng.uniform(0.05, 0.3) + rng.uniform(0, 0.3) * (1 - Y)
    return (1 - veil)[:, :, None] * rng.uniform((0.75, 0.8, 0.85), (1, 1, 1)), veil[:, :, None] * rng.uniform(
        (150, 160, 170), (215, 220, 225)
    )


def dusk(rng: Generator, scene: Scene) -> Light:
    """Little light, warm or blue."""
    cast = np.array((1.25, 0.9, 0.65)) if rng.random() < 0.5 else np.array((0.7, 0.85, 1.25))
    fall = rng.uniform(0.3, 0.65) * (1 + rng.uniform(-0.3, 0.3) * (2 * Y - 1)) * (1 + 0.2 * noise(rng, X.shape, (3, 4)))
    return fall[:, :, None] * (1 + rng.uniform(0.3, 1) * (cast - 1)), rng.uniform(0, 14, 3)


def night(rng: Generator, scene: Scene) -> Light:
    """Darkness with pools of coloured light, as at a concert or in a street."""
    gain = np.tile(rng.uniform((0.16, 0.18, 0.2), (0.3, 0.3, 0.36)), (FINE, FINE, 1))
    for x, y in rng.uniform(-0.1, 1.1, (rng.integers(2, 7), 2)):
        reach = rng.uniform(0.1, 0.4)
        pool = np.exp(-((X - x) ** 2 + ((Y - y) / rng.uniform(0.5, 1)) ** 2) / (2 * reach**2))
        gain += rng.uniform(0.3, 0.9) * pool[:, :, None] * rng.uniform((0.8, 0.5, 0.4), (1.2, 1.1, 1.1))
    return gain, rng.uniform(0, 10, 3)


def backlight(rng: Generator, scene: Scene) -> Light:
    """The sun shines into the lens: people are dark, and a glow lies over them."""
    x, y = rng.uniform(-0.1, 1.1), rng.uniform(-0.2, 0.25)
    away = np.hypot(X - x, Y - y)
    glow = rng.uniform(60, 150) * np.exp(-away / rng.uniform(0.1, 0.3)) + rng.uniform(5, 50) * np.exp(-away)
    gain = rng.uniform(0.35, 0.7) + 0.3 * np.exp(-away / 0.4)
    return gain[:, :, None] * np.ones(3), glow[:, :, None] * rng.uniform((1, 0.85, 0.6), (1, 1, 1))


def hard_shadows(rng: Generator, scene: Scene) -> Light:
    """Sun, with the shadows of houses or of leaves."""
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        edge = (X - 0.5) * np.cos(angle) + (Y - 0.5) * np.sin(angle) - rng.uniform(-0.3, 0.3)
        if rng.random() < 0.4:  # of a pole or between two houses
            edge = rng.uniform(0.05, 0.2) - np.abs(edge)
    else:
        edge = noise(rng, X.shape, (5, 12, 24)) - rng.uniform(-0.2, 0.2)
    shade = 1 / (1 + np.exp(np.clip(-edge * rng.uniform(20, 60), -30, 30)))[:, :, None]
    dark = rng.uniform(0.3, 0.6) * np.array((0.92, 1, 1.12))
    return rng.uniform(0.85, 1.15) * (1 - shade + shade * dark), np.zeros(3)


LIGHTS: tuple[tuple[Callable[[Generator, Scene], Light], float], ...] = (
    (overcast, 0.22),
    (dusk, 0.14),
    (night, 0.1),
    (backlight, 0.16),
    (hard_shadows, 0.2),
)


def shine(rng: Generator, scene: Scene, image: np.ndarray, strength: float) -> np.ndarray:
    """The image in some light, the stronger the more often in difficult light: ``(H, W, 3)`` float32."""
    kinds, chances = zip(*LIGHTS, strict=True)
    kind = (*kinds, daylight)[np.searchsorted(strength * np.cumsum(chances), rng.random(), "right")]
    gain, glow = (np.broadcast_to(part, (FINE, FINE, 3)).astype(np.float32) for part in kind(rng, scene))
    lit = cv2.multiply(image, cv2.resize(gain, scene.size[::-1], interpolation=cv2.INTER_CUBIC), dtype=cv2.CV_32F)
    return np.asarray(cv2.add(lit, cv2.resize(glow, scene.size[::-1])))
