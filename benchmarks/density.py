"""Density maps beside SciPy's Gaussian filter, in one run and one thread.

Fixed kernels: our map of σ=4 beside ``gaussian_filter`` of the dot image with the same σ, as SciPy cuts it off (33
pixels) and cut off at 15 pixels as ours is. Adaptive kernels: our map, the search for neighbours included, beside
filtering the whole image once per head; of the heads a sample is timed and its mean taken for all (``--heads 0``: all).

Run: python benchmarks/density.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from crowds import DEFAULT, crowds
from scipy.ndimage import gaussian_filter

from nni_count.data.adaptive import adaptive_sigma
from nni_count.data.density import ADAPTIVE_WIDTH, density_map

SIGMA = 4.0


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def dots(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    image = np.zeros(shape)
    np.add.at(image, tuple(points.astype(int).T[::-1]), 1)
    return image


def adaptive(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return density_map(points, shape, sigma=adaptive_sigma(points))


def once_per_head(points: np.ndarray, shape: tuple[int, int], heads: int, rng: np.random.Generator) -> float:
    """The seconds that filtering the image for every head takes; neighbours and sum are left out, in its favour."""
    sigma = adaptive_sigma(points)
    chosen = rng.permutation(len(points))[: heads or None]
    images = [dots(points[[head]], shape) for head in chosen]
    times = [
        seconds(lambda image=image, head=head: gaussian_filter(image, sigma[head], truncate=ADAPTIVE_WIDTH / 2))
        for image, head in zip(images, chosen, strict=True)
    ]
    return sum(times) / len(times) * len(points)


def measure(points: np.ndarray, shape: tuple[int, int], heads: int, rng: np.random.Generator) -> dict[str, float]:
    image = dots(points, shape)
    return {
        "scipy": seconds(lambda: gaussian_filter(image, SIGMA)),
        "scipy_15": seconds(lambda: gaussian_filter(image, SIGMA, truncate=7 / SIGMA)),
        "fixed": statistics.median(seconds(lambda: density_map(points, shape, sigma=SIGMA)) for _ in range(3)),
        "per_head": once_per_head(points, shape, heads, rng),
        "adaptive": statistics.median(seconds(lambda: adaptive(points, shape)) for _ in range(3)),
    }


def summary(name: str, ratios: list[float]) -> dict[str, float]:
    return {
        f"{name}_median": round(statistics.median(ratios), 2),
        f"{name}_min": round(min(ratios), 2),
        f"{name}_max": round(max(ratios), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=DEFAULT, help="folder of part A, or the one that holds all data sets")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--heads", type=int, default=8, help="heads of an image that the slow way is timed on; 0: all")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    samples, name = crowds(arguments.data, arguments.images)
    scenes = [(sample.points, sample.read().shape[:2]) for sample in samples]
    rng = np.random.default_rng(0)
    measure(*scenes[0], 1, rng)  # warms up
    # a figure is a ratio of seconds for all images; its spread is over the rounds
    ratios: dict[str, list[float]] = {"fixed_ratio": [], "fixed_ratio_15": [], "adaptive_ratio": []}
    images: list[float] = []
    for number in range(arguments.rounds):
        rows = [measure(points, shape, arguments.heads, rng) for points, shape in scenes]
        total = {key: sum(row[key] for row in rows) for key in rows[0]}
        ratios["fixed_ratio"].append(total["scipy"] / total["fixed"])
        ratios["fixed_ratio_15"].append(total["scipy_15"] / total["fixed"])
        ratios["adaptive_ratio"].append(total["per_head"] / total["adaptive"])
        images += [row["scipy"] / row["fixed"] for row in rows]
        milliseconds = {key: f"{1e3 * value / len(rows):.2f}" for key, value in total.items()}
        print(f"round {number}, ms an image: {milliseconds}", flush=True)
    result: dict[str, Any] = {"benchmark": "density", "data": name, "images": len(scenes)}
    result["heads"] = sum(len(points) for points, _ in scenes)
    result["heads_timed_an_image"] = arguments.heads or "all"
    for key, values in ratios.items():
        result.update(summary(key, values))
    result.update(summary("fixed_ratio_of_an_image", images))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
