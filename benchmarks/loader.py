"""Batches of crops beside the plain way, and how long a training step waits for them; all in one run.

The plain way decodes the image and blurs the whole map for every crop. Ours is timed after the first pass, without
workers. ``idle`` is the loader's time over the step's, of the network in examples/shanghaitech, taken in turns. The
memory for decoded images is bounded by ``--cache_gb``; the process's largest size is given beside what they take.

Run: python benchmarks/loader.py
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from crowds import DEFAULT, crowds
from scipy.ndimage import gaussian_filter

from nni_count.architecture import read_architecture
from nni_count.data.pixels import MEAN, STD
from nni_count.data.sample import Sample
from nni_count.losses.scale_pyramid import ScalePyramidLoss
from nni_count.networks import create, initialise, number_of_parameters
from nni_count.tasks.counting import Counting
from nni_count.training.batches import CropLoader, crop_loader
from nni_count.training.settings import Crops

ARCHITECTURE = Path(__file__).parents[1] / "examples" / "shanghaitech" / "architecture.yaml"


def plain_crop(sample: Sample, size: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """As loaders are often written."""
    image = sample.read()
    density = np.zeros(image.shape[:2])
    np.add.at(density, tuple(sample.points.astype(int).T[::-1]), 1)
    density = gaussian_filter(density, 4)
    image, density = (
        np.pad(array, [(0, max(0, size - length)) for length in array.shape[:2]] + [(0, 0)] * (array.ndim - 2))
        for array in (image, density)
    )
    top, left = (int(rng.integers(length - size + 1)) for length in density.shape)
    image, density = (array[top : top + size, left : left + size] for array in (image, density))
    if rng.random() < 0.5:
        image, density = image[:, ::-1], density[:, ::-1]
    pixels = ((image.astype(np.float32) / 255 - MEAN) / STD).astype(np.float32)
    blocks = density.reshape(size // 4, 4, size // 4, 4).sum((1, 3))
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy()), torch.from_numpy(blocks[None].astype(np.float32))


def plain_batch(samples: Iterator[Sample], size: int, number: int, rng: np.random.Generator) -> Any:
    return torch.utils.data.default_collate(
        [plain_crop(sample, size, rng) for sample in itertools.islice(samples, number)]
    )


def endless(loader: CropLoader) -> Iterator[Any]:
    while True:
        yield from loader


def timed(batches: Iterator[Any], number: int) -> list[float]:
    times = []
    for _ in range(number):
        start = time.perf_counter()
        next(batches)
        times.append(time.perf_counter() - start)
    return times


def steps(batches: Iterator[Any], number: int, bf16: bool) -> tuple[list[float], list[float], int]:
    """The seconds that the loader takes and those that the step takes, and the network's parameters."""
    architecture = read_architecture(ARCHITECTURE)
    network = create("amsnet", architecture)
    initialise(network)
    network = network.to(memory_format=torch.channels_last)
    loss = ScalePyramidLoss(architecture.pooling)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    waits, works = [], []
    for _ in range(number + 1):
        start = time.perf_counter()
        images, targets = next(batches)
        middle = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            estimate = network(images.contiguous(memory_format=torch.channels_last))
        optimizer.zero_grad()
        loss(estimate.float(), targets).backward()
        optimizer.step()
        waits.append(middle - start)
        works.append(time.perf_counter() - middle)
    # the first step warms up
    return waits[1:], works[1:], number_of_parameters(network)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=DEFAULT, help="folder of part A, or the one that holds all data sets")
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--crop_size", type=int, default=256)
    parser.add_argument("--batch_size", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--cache_gb", type=float, default=2.0)
    parser.add_argument("--bf16", action="store_true", help="train in bfloat16")
    arguments = parser.parse_args()
    samples, name = crowds(arguments.data, arguments.images)
    crops = Crops(arguments.crop_size, arguments.batch_size, cache_gb=arguments.cache_gb)
    loader = crop_loader(samples, Counting(), crops, stride=4, seed=0)
    start = time.perf_counter()
    list(loader)
    first_pass = (time.perf_counter() - start) / len(loader)
    list(loader)  # a pass leaves out what does not fill a batch, so now nearly all are decoded
    ours, plain = endless(loader), itertools.cycle(samples)
    rng = np.random.default_rng(0)
    ratios, our_seconds, plain_seconds = [], [], []
    for number in range(arguments.rounds):
        fast = statistics.median(timed(ours, 10))
        before = time.perf_counter()
        plain_batch(plain, arguments.crop_size, arguments.batch_size, rng)
        slow = time.perf_counter() - before
        our_seconds.append(fast)
        plain_seconds.append(slow)
        ratios.append(slow / fast)
        print(
            f"round {number}: plain {1e3 * slow:.1f} ms a batch, ours {1e3 * fast:.2f} ms, {ratios[-1]:.1f}×",
            flush=True,
        )
    waits, works, parameters = steps(ours, arguments.steps, arguments.bf16)
    result = {
        "benchmark": "loader",
        "data": name,
        "images": len(samples),
        "crop_size": arguments.crop_size,
        "batch_size": arguments.batch_size,
        "plain_batch_seconds": round(statistics.median(plain_seconds), 5),
        "batch_seconds": round(statistics.median(our_seconds), 5),
        "first_pass_batch_seconds": round(first_pass, 5),
        "ratio_median": round(statistics.median(ratios), 2),
        "ratio_min": round(min(ratios), 2),
        "ratio_max": round(max(ratios), 2),
        "cache_gb": arguments.cache_gb,
        "images_in_cache": len(loader.dataset.images),
        "cache_megabytes": round(loader.dataset.images.nbytes / 1e6, 1),
        "process_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1),
        "parameters": parameters,
        "precision": "bf16" if arguments.bf16 else "fp32",
        "wait_seconds": round(statistics.median(waits), 5),
        "step_seconds": round(statistics.median(works), 5),
        "idle_median": round(statistics.median(waits) / statistics.median(works), 4),
        "idle_max": round(max(waits) / statistics.median(works), 4),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
