"""The step of a search by strategy on AMSNet's space: its seconds, and what is kept for the backward pass.

Run: python benchmarks/search_step.py [--device cuda]

NNI's strategies run as they ship, in the memory format that torch gives by default, and again with channels last, which
ours use. All in one process, in turn. Memory is the bytes that are saved for the backward pass, on a GPU
the allocator's peak as well.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

from nni_count.searching.recipe import SpaceTraining
from nni_count.tasks.task import usual_task
from nni_count.training.settings import Recipe
from search_spaces import AMSNetSpace
from strategies import DARTS, GDAS, PartialChannel

import nni.nas.strategy as nni_strategies  # isort: skip

#: name → strategy, and whether it runs with channels last
METHODS: dict[str, tuple[Callable[[], Any], bool]] = {
    "NNI DARTS, as it ships": (nni_strategies.DARTS, False),
    "NNI DARTS": (nni_strategies.DARTS, True),
    "NNI GumbelDARTS, as it ships": (nni_strategies.GumbelDARTS, False),
    "NNI GumbelDARTS": (nni_strategies.GumbelDARTS, True),
    "PC-DARTS, edge by edge": (lambda: PartialChannel(fused=False), True),
    "DARTS": (DARTS, True),
    "PartialChannel": (PartialChannel, True),
    "GDAS": (GDAS, True),
}

#: what is compared with what, and the least ratio (of seconds, of bytes) that is aimed at
AIMS = [
    ("PartialChannel", "NNI DARTS, as it ships", 4.0, 4.0),
    ("PartialChannel", "NNI DARTS", 4.0, 4.0),
    ("PartialChannel", "PC-DARTS, edge by edge", 2.5, None),
    ("DARTS", "NNI DARTS", 1.2, None),
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
        self.module = strategy.configure_oneshot_module(SpaceTraining(usual_task(), Recipe(), epochs=1))
        self.module.set_model(space)
        layout = torch.channels_last if last else torch.contiguous_format
        self.space: Any = space.to(memory_format=layout)
        self.images = torch.rand(batch, 3, crop, crop, device=device).to(memory_format=layout)
        self.targets = torch.rand(batch, 1, crop, crop, device=device)
        own = self.module.arch_parameters()
        weights = [*{*space.parameters()} - {*own}]
        self.optimizers = [torch.optim.Adam(some, lr=1e-3, fused=True) for some in (own, weights)]
        self.device = device

    def loss(self, alone: bool) -> torch.Tensor:
        """On the half for α and β, or on that for the weights; those alone learn, but with NNI's own strategies."""
        training = self.module.training_module
        training.learn(architecture=alone)
        self.module.resample()
        loss: torch.Tensor = self.space.loss(training.estimate(self.images, alone), self.targets)
        return loss

    def run(self) -> float:
        """Seconds of a step, of α and β and of the weights."""
        start = time.perf_counter()
        for alone, optimizer in zip((True, False), self.optimizers, strict=True):
            optimizer.zero_grad()
            self.loss(alone).backward()
            optimizer.step()
        if self.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def saved(self) -> int:
        """Bytes kept for the larger of both backward passes, weights left out, what is kept twice counted once."""
        return max(self._saved(alone) for alone in (True, False))

    def _saved(self, alone: bool) -> int:
        weights = {tensor.untyped_storage().data_ptr() for tensor in self.space.state_dict().values()}
        kept: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = self.loss(alone)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--width", type=int, default=64)
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
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
