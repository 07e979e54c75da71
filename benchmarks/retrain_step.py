"""The retrainer's step beside a bare PyTorch loop over the same batches.

Run: python benchmarks/retrain_step.py
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Timer

from nni_count.architecture import read_architecture
from nni_count.data.synthetic import CrowdStream
from nni_count.losses.scale_pyramid import ScalePyramidLoss
from nni_count.networks import Network, create, initialise
from nni_count.tasks.counting import Counting
from nni_count.training.batches import crop_loader
from nni_count.training.learner import Length, Retraining
from nni_count.training.objective import Objective
from nni_count.training.settings import Crops, TrainingRecipe

ARCHITECTURE = Path(__file__).parents[1] / "examples" / "shanghaitech" / "architecture.yaml"


class Clock(Callback):
    """The seconds of every step, from the end of one to the end of the next."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.times.append(time.perf_counter())


def bare(network: torch.nn.Module, loss: torch.nn.Module, batches: list[Any]) -> list[float]:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.9, 0.99), fused=True)
    times = []
    for images, targets in batches:
        value = loss(network(images.contiguous(memory_format=torch.channels_last)), targets)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.2)
        optimizer.step()
        times.append(time.perf_counter())
    return times


def retrainer(network: Network, loss: torch.nn.Module, batches: list[Any], loader: Any) -> list[float]:
    module = Retraining(
        network,
        Objective(Counting(), loss, network.map_stride),
        recipe=TrainingRecipe(),
        length=Length(len(batches), None),
        timer=Timer(),
        loader=loader,
    )
    clock = Clock()
    pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[clock],
    ).fit(module, torch.utils.data.DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    return clock.times


def seconds(times: list[float]) -> float:
    """The median step; the first one warms up."""
    return statistics.median(after - before for before, after in itertools.pairwise(times[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=14)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    architecture = read_architecture(ARCHITECTURE)
    loss = ScalePyramidLoss(architecture.pooling)
    loader = crop_loader(
        CrowdStream().take(12), Counting(), Crops(192, 6), stride=4, seed=0, limit_batches=arguments.steps
    )
    batches = list(loader)
    network = create("amsnet", architecture)
    initialise(network)
    network = network.to(memory_format=torch.channels_last)
    ratios, ours, theirs = [], [], []
    for number in range(arguments.rounds):
        one = lambda: seconds(bare(copy.deepcopy(network), loss, batches))  # noqa: E731
        other = lambda: seconds(retrainer(copy.deepcopy(network), loss, batches, loader))  # noqa: E731
        first, second = (one, other) if number % 2 else (other, one)  # neither is always the first
        a, b = first(), second()
        plain, full = (a, b) if number % 2 else (b, a)
        theirs.append(plain)
        ours.append(full)
        ratios.append(full / plain)
        print(f"round {number}: bare {plain:.3f} s, retrainer {full:.3f} s, ratio {full / plain:.3f}", flush=True)
    print(
        json.dumps(
            {
                "benchmark": "retrain_step",
                "bare_seconds": round(statistics.median(theirs), 4),
                "retrainer_seconds": round(statistics.median(ours), 4),
                "ratio_median": round(statistics.median(ratios), 4),
                "ratio_min": round(min(ratios), 4),
                "ratio_max": round(max(ratios), 4),
                "threads": torch.get_num_threads(),
            }
        )
    )


if __name__ == "__main__":
    main()
