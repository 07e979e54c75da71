"""What a camera and the way to the reader make of a scene."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from nni_count.data.synthetic.light import shine
from nni_count.data.synthetic.paint import noise
from nni_count.data.synthetic.scene import Scene


def photograph(rng: Generator, scene: Scene, image: np.ndarray) -> np.ndarray:
    """The easy level: light and shade, a colour cast, a lens that is not quite sharp, and grain."""
    light = 1 + 0.2 * noise(rng, scene.size, (3, 4))
    cast = rng.uniform(0.8, 1.25) * rng.uniform(0.94, 1.06, 3)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.35, 0.8) * max(scene.unit, 0.7)))
    lit = cv2.multiply(image, cv2.merge([light * c for c in cast.tolist()]), dtype=cv2.CV_32F)
    grain = rng.uniform(1, 7) * rng.standard_normal(scene.size, np.float32)
    return np.asarray(cv2.add(lit, cv2.merge([grain] * 3), dtype=cv2.CV_8U))


def photograph_badly(rng: Generator, scene: Scene, image: np.ndarray, strength: float) -> np.ndarray:
    """The harder levels: difficult light, tones, a blurred lens, grain, few pixels and a small file."""
    image = _blur(rng, image, strength)
    image = _tones(rng, shine(rng, scene, image, strength), strength)
    grain = rng.uniform(0.5, 3 + 8 * strength) * rng.standard_normal(scene.size, np.float32)
    image = np.asarray(cv2.add(image, cv2.merge([grain] * 3), dtype=cv2.CV_8U))
    if rng.random() < 0.15 * strength:
        image = cv2.merge([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)] * 3)
    if rng.random() < 0.8 * strength:
        quality = int(rng.uniform(25, 95))
        file = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR))
    return np.ascontiguousarray(image)


def _blur(rng: Generator, image: np.ndarray, strength: float) -> np.ndarray:
    """Out of focus, shaken, or enlarged from fewer pixels."""
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 0.9))
    if rng.random() < 0.1 * strength:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 1.2))
    if rng.random() < 0.1 * strength:
        length, angle = rng.uniform(2, 6), rng.uniform(0, np.pi)
        kernel, reach = np.zeros((9, 9), np.float32), 0.5 * length * np.array((np.cos(angle), np.sin(angle)))
        ends = np.round((4 + np.array([[-1], [1]]) * reach) * 16).astype(int).tolist()
        cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 4)
        image = cv2.filter2D(image, -1, kernel / kernel.sum())
    if rng.random() < 0.3 * strength:
        height, width = image.shape[:2]
        scale = rng.uniform(0.55, 0.95)
        small = cv2.resize(image, (round(scale * width), round(scale * height)), interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(image)


def _tones(rng: Generator, image: np.ndarray, strength: float) -> np.ndarray:
    """Contrast, saturation and a colour cast of ``(H, W, 3)`` float32."""
    saturation, cast = rng.uniform(1 - 0.7 * strength, 1.25), rng.uniform(1 - 0.12 * strength, 1 + 0.12 * strength, 3)
    contrast, level = rng.uniform(1 - 0.35 * strength, 1 + 0.25 * strength), rng.normal(0, 0.1 * strength)
    grey = np.array((0.299, 0.587, 0.114))
    mix = (saturation * np.eye(3) + (1 - saturation) * grey) * (contrast * cast)[:, None]
    brightness = max(float(np.mean(cv2.mean(image)[:3])), 1)
    exposed = min(max(brightness, 65), 185)  # a camera opens and closes its shutter
    shift = (1 - contrast + level) * exposed
    return np.asarray(cv2.transform(image, np.column_stack([mix * exposed / brightness, [shift] * 3])))
