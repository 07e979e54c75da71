"""The step of a search by strategy on AMSNet's space: its seconds, and what is kept for the backward pass.

Run: python benchmarks/search_step.py [--device cuda] [--growth growth.png]

NNI's strategies run as they ship, in the memory format that torch gives by default, and again with channels last, which
ours use. All in one process, in turn. Memory is the bytes that are saved for the backward pass, on a GPU
the allocator's peak as well.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback

from nni_count.commands.search import search
from nni_count.data import halves
from nni_count.data.synthetic.sets import SyntheticCrowds
from nni_count.searching.recipe import Recipe
from nni_count.tasks.task import usual_task
from nni_count.training.batches import crop_loader
from search_spaces import AMSNetSpace
from strategies import GDAS, PartialChannel

import nni.nas.strategy as nni_strategies  # isort: skip

#: name → strategy, and whether it runs with channels last
METHODS: dict[str, tuple[Callable[[], Any], bool]] = {
    "NNI DARTS, as it ships": (nni_strategies.DARTS, False),
    "NNI DARTS": (nni_strategies.DARTS, True),
    "NNI GumbelDARTS, as it ships": (nni_strategies.GumbelDARTS, False),
    "NNI GumbelDARTS": (nni_strategies.GumbelDARTS, True),
    "PC-DARTS, edge by edge": (lambda: PartialChannel(fused=False), True),
    "PartialChannel": (PartialChannel, True),
    "GDAS": (GDAS, True),
}

#: what is compared with what, and the least ratio (of seconds, of bytes) that is aimed at
AIMS = [
    ("PartialChannel", "NNI DARTS, as it ships", 4.0, 4.0),
    ("PartialChannel", "NNI DARTS", 4.0, 4.0),
    ("PartialChannel", "PC-DARTS, edge by edge", 2.5, None),
    ("GDAS", "NNI GumbelDARTS, as it ships", 6.0, 5.0),
    ("GDAS", "NNI GumbelDARTS", 6.0, 5.0),
]


class Step:
    """A search step of one strategy on random crops.

    Args:
        name: of the method.
        width: C.
        crop: side of the crops in pixels.
        batch: crops a step.
        device: torch's.
    """

    def __init__(self, name: str, width: int, crop: int, batch: int, device: str):
        make, last = METHODS[name]
        torch.manual_seed(0)
        strategy = make()
        space = strategy.mutate_model(AMSNetSpace(cells=6, width=width)).to(device)
        self.module = strategy.configure_oneshot_module(Recipe(usual_task(), 1e-3, 4e-4, 1e-4, 1))
        self.module.set_model(space)
        layout = torch.channels_last if last else torch.contiguous_format
        self.space: Any = space.to(memory_format=layout)
        self.images = torch.rand(batch, 3, crop, crop, device=device).to(memory_format=layout)
        self.targets = torch.rand(batch, 1, crop, crop, device=device)
        self.optimizer = torch.optim.Adam(space.parameters(), lr=1e-3, fused=True)
        self.device = device

    def loss(self) -> torch.Tensor:
        self.module.resample()
        loss: torch.Tensor = self.space.loss(self.space(self.images), self.targets)
        return loss

    def run(self) -> float:
        """Seconds of a step."""
        start = time.perf_counter()
        self.optimizer.zero_grad()
        self.loss().backward()
        self.optimizer.step()
        if self.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def saved(self) -> int:
        """Bytes kept for the backward pass, weights left out, what is kept twice counted once."""
        weights = {tensor.untyped_storage().data_ptr() for tensor in self.space.state_dict().values()}
        kept: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = self.loss()
        del loss
        return sum(kept.values())

    def peak(self) -> int:
        """Bytes at the allocator's peak in a step, on a GPU."""
        torch.cuda.reset_peak_memory_stats()
        self.run()
        return torch.cuda.max_memory_allocated()


def measure(names: list[str], rounds: int, width: int, crop: int, batch: int, device: str) -> dict[str, dict[str, Any]]:
    """Name → ``seconds`` of every round and ``bytes``; the methods take turns. Each takes two steps and the second
    counts, since in a search a step follows one of its own, not one that left another method's data in the caches.
    """
    steps = {name: Step(name, width, crop, batch, device) for name in names}
    results: dict[str, dict[str, Any]] = {}
    for name, step in steps.items():
        step.run()
        results[name] = {"seconds": [], "bytes": step.saved()}
        if device != "cpu":
            results[name]["peak"] = step.peak()
    for _ in range(rounds):
        for name, step in steps.items():
            step.run()
            results[name]["seconds"].append(step.run())
    return results


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
    module = strategy.configure_oneshot_module(Recipe(usual_task(), 1e-3, 4e-4, 1e-4, 1))
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
    settings: dict[str, Any] = {"crop_size": 64, "batch_size": 4, "limit_batches": steps, "stride": 1}
    loaders = [crop_loader(part, usual_task(), seed=0, **settings) for part in halves(data.samples("train"), 0)]
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
                max_epochs=2,
                crop_size=64,
                batch_size=4,
                limit_train_batches=steps,
                validation_images=0,
                accelerator="cpu",
                callbacks=[clock],
            )
        whole = statistics.median(last - first for first, last in itertools.pairwise(clock.times[-steps:]))
        after = bare(AMSNetSpace(width=64), PartialChannel(), batches)
        found["per_step"].append(2 * whole / (before + after) - 1)
        found["epoch_end_seconds"] += clock.epoch_ends
    return found


def growth(device: str, rounds: int) -> list[dict[str, Any]]:
    """Seconds and bytes where one of width, crop and batch changes."""
    rows = []
    for width, crop, batch in ((32, 64, 4), (64, 64, 4), (128, 64, 4), (64, 128, 4), (64, 64, 2), (64, 64, 8)):
        # at C = 32 the first cell's nodes have two channels, of which K = 4 has no share
        names = [name for name in ("NNI DARTS", "PartialChannel", "GDAS") if width > 32 or name != "PartialChannel"]
        for name, result in measure(names, rounds, width, crop, batch, device).items():
            seconds = statistics.median(result["seconds"])
            rows.append({"method": name, "C": width, "crop": crop, "batch": batch, "seconds": seconds})
            rows[-1]["bytes"] = result["bytes"]
            print(
                f"{name:<16} C={width:<4} crop={crop:<4} batch={batch}  {seconds:.3f} s  {result['bytes'] / 1e6:.0f} MB"
            )
    return rows


def draw(rows: list[dict[str, Any]], path: str) -> None:
    """Time and memory against width, crop and batch."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(10, 5.5), layout="constrained", sharex="col", sharey="row")
    usual = {"C": 64, "crop": 64, "batch": 4}
    for column, varied in enumerate(usual):
        others = {name: value for name, value in usual.items() if name != varied}
        for method in dict.fromkeys(row["method"] for row in rows):
            line = sorted(
                (row[varied], row["seconds"], row["bytes"] / 1e6)
                for row in rows
                if row["method"] == method and all(row[name] == value for name, value in others.items())
            )
            for axis, place in zip(axes[:, column], (1, 2), strict=True):
                axis.plot([point[0] for point in line], [point[place] for point in line], "o-", label=method)
        axes[1, column].set_xlabel({"C": "width C", "crop": "crop, pixels", "batch": "crops a step"}[varied])
    axes[0, 0].set_ylabel("seconds a step")
    axes[1, 0].set_ylabel("MB for the backward pass")
    for axis in axes.flat:
        axis.set_yscale("log")
        axis.grid(alpha=0.3)
    axes[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--growth", help="picture of time and memory against width, crop and batch")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    results = measure(list(METHODS), arguments.rounds, arguments.width, 64, 4, arguments.device)
    for name, result in results.items():
        times = result["seconds"]
        middle = statistics.median(times)
        print(
            f"{name:<30} {middle:.3f} s ({min(times):.3f}–{max(times):.3f})  {result['bytes'] / 1e6:.0f} MB", flush=True
        )
    summary: dict[str, Any] = {"benchmark": "search_step", "width": arguments.width, "threads": torch.get_num_threads()}
    for ours, theirs, faster, smaller in AIMS:
        pairs = zip(results[ours]["seconds"], results[theirs]["seconds"], strict=True)
        ratios = sorted(other / one for one, other in pairs)
        memory = results[theirs]["bytes"] / results[ours]["bytes"]
        print(
            f"{ours} beside {theirs}: {statistics.median(ratios):.1f}× faster ({ratios[0]:.1f}–{ratios[-1]:.1f}, "
            f"aim {faster}), {memory:.1f}× less memory" + (f" (aim {smaller})" if smaller else "")
        )
        summary[f"{ours} / {theirs}"] = {
            "faster": round(statistics.median(ratios), 2),
            "faster_min": round(ratios[0], 2),
            "faster_max": round(ratios[-1], 2),
            "less_memory": round(memory, 2),
        }
    if arguments.device == "cpu":
        found = overhead(max(3, arguments.rounds // 2))
        shares = sorted(found["per_step"])
        summary["loop_overhead"] = round(statistics.median(shares), 3)
        summary["epoch_end_seconds"] = round(statistics.median(found["epoch_end_seconds"]), 2)
        print(f"the loop: {statistics.median(shares):+.1%} a step ({shares[0]:+.1%} to {shares[-1]:+.1%}, aim 5%)")
    if arguments.growth:
        draw(growth(arguments.device, max(3, arguments.rounds // 3)), arguments.growth)
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
