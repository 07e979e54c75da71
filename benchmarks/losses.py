"""A training step by each loss beside one by ``sppl``: the retrainer's default crops, all in one run, turn about.

Run: python benchmarks/losses.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from nni_count.architecture import read_architecture
from nni_count.data.synthetic import CrowdStream
from nni_count.losses import LOSSES, create_loss
from nni_count.networks import create, initialise
from nni_count.tasks.counting import Counting
from nni_count.training.batches import crop_loader
from nni_count.training.objective import Objective
from nni_count.training.settings import Crops, TrainingRecipe

ARCHITECTURE = Path(__file__).parents[1] / "examples" / "shanghaitech" / "architecture.yaml"
BINS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


def stepper(loss: str, crops: Crops) -> Callable[[], float]:
    """What makes one training step by a loss, its batch ready, and gives its seconds."""
    architecture = read_architecture(ARCHITECTURE)
    task = Counting(bins=BINS) if loss == "zip" else Counting()
    network = create("amsnet", architecture, out_channels=task.out_channels)
    initialise(network)
    network = network.to(memory_format=torch.channels_last)
    objective = Objective(task, create_loss(loss, architecture.pooling), network.map_stride)
    samples = CrowdStream().take(12)
    loader = crop_loader(
        samples, task, crops, stride=network.map_stride, seed=0, with_points=objective.needs_points, limit_batches=1
    )
    ((images, targets, *points),) = list(loader)
    images = images.contiguous(memory_format=torch.channels_last)
    optimizer = TrainingRecipe().make_optimizer(network.parameters(), fused=True)

    def step() -> float:
        start = time.perf_counter()
        optimizer.zero_grad()
        network.training_loss(images, targets, objective.of(images, *points), 0.5).backward()
        optimizer.step()
        return time.perf_counter() - start

    step()  # the first one warms up
    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--losses", nargs="*", default=list(LOSSES))
    arguments = parser.parse_args()
    names = ["sppl", *(name for name in arguments.losses if name != "sppl")]
    steps = {name: stepper(name, Crops(192, 6)) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(arguments.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:  # none is always the first
            seconds[name].append(steps[name]())
    beside = {
        name: [one / other for one, other in zip(times, seconds["sppl"], strict=True)]
        for name, times in seconds.items()
    }
    for name, ratios in beside.items():
        print(
            json.dumps(
                {
                    "benchmark": "losses",
                    "loss": name,
                    "step_seconds": round(statistics.median(seconds[name]), 4),
                    "ratio_median": round(statistics.median(ratios), 3),
                    "ratio_min": round(min(ratios), 3),
                    "ratio_max": round(max(ratios), 3),
                    "threads": torch.get_num_threads(),
                }
            )
        )


if __name__ == "__main__":
    main()
