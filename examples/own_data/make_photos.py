"""Draw photos of sheep on a meadow, and the clicks of somebody who counted them: what stands for your own data here.

Run: python examples/own_data/make_photos.py FOLDER [--number 60] [--season summer|autumn] [--seed 0]

It leaves ``FOLDER/images/*.jpg`` and ``FOLDER/clicks.csv`` with the columns image, x and y.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator, default_rng

SIZE = (240, 320)
GRASS = {"summer": (70, 120, 50), "autumn": (140, 115, 70)}  # RGB
MOST = 80


def photo(rng: Generator, season: str) -> tuple[np.ndarray, np.ndarray]:
    """A photo ``(240, 320, 3)`` uint8 RGB, and the middles of its sheep ``(N, 2)``, x y in pixels."""
    height, width = SIZE
    image = np.array(GRASS[season]) * rng.uniform(0.7, 1.2) + _cloudy(rng, 20) * 14 + _cloudy(rng, 80) * 10
    image = np.ascontiguousarray(image.clip(0, 255).astype(np.uint8))
    for x, y, size in zip(*rng.uniform((0, 0, 3), (width, height, 14), (rng.integers(0, 8), 3)).T, strict=True):
        grey = rng.uniform(60, 150)
        cv2.ellipse(image, ((x, y), (2 * size, size), rng.uniform(0, 180)), (grey, grey, 0.9 * grey), -1, cv2.LINE_AA)
    number = int(np.exp(rng.uniform(0, np.log(MOST + 1))))
    flock = rng.uniform((20, 20), (width - 20, height - 20), (3, 2))
    points = flock[rng.integers(0, 3, number)] + rng.normal(0, rng.uniform(15, 60), (number, 2))
    points = points.clip(4, (width - 5, height - 5))
    for point in points[np.argsort(points[:, 1])]:  # those in front are drawn last
        _sheep(rng, image, point, radius=4 + 4 * point[1] / height)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 0.9))
    noisy = image + rng.normal(0, rng.uniform(1, 8), image.shape)
    return noisy.clip(0, 255).astype(np.uint8), points


def _cloudy(rng: Generator, cells: int) -> np.ndarray:
    """Uneven light or grass: ``(240, 320, 1)``."""
    coarse = rng.normal(0, 1, (cells * 3 // 4, cells)).astype(np.float32)
    return cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC)[:, :, None]


def _sheep(rng: Generator, image: np.ndarray, point: np.ndarray, radius: float) -> None:
    angle, wool = rng.uniform(0, 360), rng.uniform(170, 250)
    body = (float(point[0]), float(point[1])), (2.2 * radius, 1.4 * radius), angle
    cv2.ellipse(image, ((body[0][0] + 2, body[0][1] + 2), *body[1:]), (40, 50, 30), -1, cv2.LINE_AA)  # its shade
    cv2.ellipse(image, body, (wool, wool, 0.93 * wool), -1, cv2.LINE_AA)
    towards = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    dark = (30, 25, 25) if rng.random() < 0.7 else (210, 200, 190)
    head = point + 1.2 * radius * towards
    cv2.ellipse(image, ((float(head[0]), float(head[1])), (0.9 * radius, 0.6 * radius), angle), dark, -1, cv2.LINE_AA)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--number", type=int, default=60)
    parser.add_argument("--season", choices=GRASS, default="summer")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    (arguments.folder / "images").mkdir(parents=True)
    lines = ["image,x,y"]
    for number in range(arguments.number):
        name = f"meadow_{number:03d}.jpg"
        image, points = photo(
            default_rng((arguments.seed, number, list(GRASS).index(arguments.season))), arguments.season
        )
        cv2.imwrite(str(arguments.folder / "images" / name), image[:, :, ::-1])
        lines += [f"{name},{x:.1f},{y:.1f}" for x, y in points.tolist()] or [f"{name},,"]
    (arguments.folder / "clicks.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
