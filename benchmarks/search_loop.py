"""What the loop of a search costs beside forward, backward and step, and what the end of an epoch takes.

Run: python benchmarks/search_loop.py
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback

from nni_count.commands.search import search
from nni_count.data import halves
from nni_count.data.synthetic.sets import SyntheticCrowds
from nni_count.searching.recipe import SpaceTraining
from nni_count.searching.settings import Decoding, SearchBudget
from nni_count.tasks.task import usual_task
from nni_count.training.batches import crop_loader
from nni_count.training.compute import Compute
from nni_count.training.settings import Crops, Recipe
from search_spaces import AMSNetSpace
from strategies import PartialChannel


class Clock(Callback):
    """When every batch ended, and how long the ends of epochs took."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.epoch_ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.times.append(time.perf_counter())

    def on_train_epoch_start(self, *_: Any) -> None:
        if self.times:
            self.epoch_ends.append(time.perf_counter() - self.times[-1])


def bare(space: AMSNetSpace, strategy: Any, batches: list[Any]) -> float:
    """Seconds of a step of both phases in a plain loop over batches that are there."""
    space = strategy.mutate_model(space).to(memory_format=torch.channels_last)
    module = strategy.configure_oneshot_module(SpaceTraining(usual_task(), Recipe(), epochs=1))
    module.set_model(space)
    own = {id(parameter): parameter for parameter in module.arch_parameters()}
    weights = [parameter for parameter in space.parameters() if id(parameter) not in own]
    arch_optimizer = torch.optim.Adam(own.values(), lr=6e-4, weight_decay=1e-3)
    optimizer = torch.optim.Adam(weights, lr=1e-3, weight_decay=1e-4)
    times = []
    for train, held_out in batches:
        for (images, targets), current in ((held_out, arch_optimizer), (train, optimizer)):
            module.resample()
            current.zero_grad()
            space.loss(space(images.contiguous(memory_format=torch.channels_last)), targets).backward()
            current.step()
        times.append(time.perf_counter())
    return statistics.median(last - first for first, last in itertools.pairwise(times))


def overhead(rounds: int, steps: int = 12) -> dict[str, list[float]]:
    """What the search's loop costs beside forward, backward and step, as a share of them, and a whole epoch's end.

    The bare loop runs before and after each search, so that a machine that slows down meanwhile counts for both.
    """
    found: dict[str, list[float]] = {"per_step": [], "epoch_end_seconds": []}
    data = SyntheticCrowds(train=24, test=1, size=128)
    crops = Crops(size=64, batch_size=4)
    loaders = [
        crop_loader(part, usual_task(), crops, stride=1, seed=0, limit_batches=steps)
        for part in halves(data.samples("train"), 0)
    ]
    batches = list(zip(*loaders, strict=True))
    for _ in range(rounds):
        clock = Clock()
        before = bare(AMSNetSpace(width=64), PartialChannel(), batches)
        with tempfile.TemporaryDirectory() as folder:
            search(
                data=data,
                space=AMSNetSpace(width=64),
                strategy=PartialChannel(),
                out=Path(folder) / "run",
                budget=SearchBudget(max_epochs=2, limit_train_batches=steps),
                crops=crops,
                decoding=Decoding(validation_images=0),
                compute=Compute(accelerator="cpu"),
                callbacks=[clock],
            )
        whole = statistics.median(last - first for first, last in itertools.pairwise(clock.times[-steps:]))
        after = bare(AMSNetSpace(width=64), PartialChannel(), batches)
        found["per_step"].append(2 * whole / (before + after) - 1)
        found["epoch_end_seconds"] += clock.epoch_ends
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    found = overhead(arguments.rounds)
    shares = sorted(found["per_step"])
    print(f"the loop: {statistics.median(shares):+.1%} a step ({shares[0]:+.1%} to {shares[-1]:+.1%}, aim 5%)")
    print(
        json.dumps(
            {
                "benchmark": "search_loop",
                "loop_overhead": round(statistics.median(shares), 3),
                "epoch_end_seconds": round(statistics.median(found["epoch_end_seconds"]), 2),
                "threads": torch.get_num_threads(),
            }
        )
    )


if __name__ == "__main__":
    main()
