"""The step of a search at the paper's size: NNI's strategies as they ship and as fast as they can be, and ours."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from nni_count.searching.nni import nni_strategies
from nni_count.searching.recipe import SpaceTraining
from nni_count.tasks.task import usual_task
from nni_count.training.settings import Recipe
from on_gpu.device import CPU
from on_gpu.results import Part
from on_gpu.sizes import Sizes
from search_spaces import AMSNetSpace
from strategies import GDAS, PartialChannel

#: the paper's search: passes over the half for the weights, of so many images
EPOCHS, IMAGES = 80, 1_201


@dataclass(frozen=True)
class Method:
    """A strategy, and how its step is run; by default as torch gives it."""

    strategy: Callable[[], Any]
    channels_last: bool = False
    bfloat16: bool = False


METHODS = {
    "NNI DARTS, as it ships": Method(nni_strategies.DARTS),
    "PartialChannel": Method(PartialChannel, True, True),
    "NNI GumbelDARTS, as it ships": Method(nni_strategies.GumbelDARTS),
    "GDAS": Method(GDAS, True, True),
    "NNI DARTS": Method(nni_strategies.DARTS, True, True),
    "NNI GumbelDARTS": Method(nni_strategies.GumbelDARTS, True, True),
    "PartialChannel, single precision": Method(PartialChannel, True),
    "GDAS, single precision": Method(GDAS, True),
}
#: ours, and what it stands beside
BESIDE = [
    (ours, theirs + how)
    for ours, theirs in (("PartialChannel", "NNI DARTS"), ("GDAS", "NNI GumbelDARTS"))
    for how in (", as it ships", "")
] + [
    ("PartialChannel, single precision", "NNI DARTS, as it ships"),
    ("GDAS, single precision", "NNI GumbelDARTS, as it ships"),
]


class SearchStep:
    """Both phases of a step: α and β learn from one batch of random crops, the weights from another."""

    def __init__(self, method: Method, sizes: Sizes, device: str):
        torch.manual_seed(0)
        strategy = method.strategy()
        space = strategy.mutate_model(AMSNetSpace(cells=sizes.cells, width=sizes.width)).to(device)
        self.module = strategy.configure_oneshot_module(SpaceTraining(usual_task(), Recipe(), EPOCHS))
        self.module.set_model(space)
        layout = torch.channels_last if method.channels_last else torch.contiguous_format
        self.space: Any = space.to(memory_format=layout)
        self.device = device
        self.bfloat16 = method.bfloat16
        own = {id(parameter): parameter for parameter in self.module.arch_parameters()}
        weights = [parameter for parameter in space.parameters() if id(parameter) not in own]
        self.phases = [
            (optimizer, *self._batch(sizes, layout))
            for optimizer in (
                torch.optim.Adam(own.values(), lr=6e-4, betas=(0.5, 0.999), weight_decay=1e-3),
                torch.optim.Adam(weights, lr=1e-3, weight_decay=1e-4),
            )
        ]

    def _batch(self, sizes: Sizes, layout: torch.memory_format) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.rand(sizes.batch, 3, sizes.crop, sizes.crop, device=self.device)
        return images.to(memory_format=layout), torch.rand(sizes.batch, 1, sizes.crop, sizes.crop, device=self.device)

    def run(self) -> None:
        training = self.module.training_module
        for alone, (optimizer, images, targets) in zip((True, False), self.phases, strict=True):
            training.learn(architecture=alone)
            self.module.resample()
            optimizer.zero_grad()
            with torch.autocast(self.device, torch.bfloat16, enabled=self.bfloat16):
                estimate = training.estimate(images, alone)
            self.space.loss(estimate.float(), targets).backward()
            optimizer.step()


def hours(milliseconds: float, batch: int) -> float:
    """Of the paper's search, with both phases in every epoch (in its first 40 the paper trains the weights alone)."""
    return milliseconds / 3.6e6 * EPOCHS * (IMAGES // 2 // batch)


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How much faster ours is and how much less memory it takes, for all pairs that were measured."""
    known = {row["method"]: row for row in rows if "error" not in row}
    return [
        {
            "ours": ours,
            "beside": theirs,
            "faster": round(known[theirs]["milliseconds"] / known[ours]["milliseconds"], 2),
            "less_memory": round(known[theirs]["peak_gib"] / known[ours]["peak_gib"], 2),
        }
        for ours, theirs in BESIDE
        if ours in known and theirs in known
    ]


def search(part: Part, device: CPU, sizes: Sizes) -> None:
    """A row a method, and their ratios."""
    part.set(cells=sizes.cells, width=sizes.width, crop=sizes.crop, batch=sizes.batch, epochs=EPOCHS, images=IMAGES)
    for name, method in METHODS.items():
        with part.row("rows", method=name) as row:
            part.need()
            row.update(_measure(method, device, sizes))
        part.set(ratios=ratios(part.facts["rows"]))


def _measure(method: Method, device: CPU, sizes: Sizes) -> dict[str, Any]:
    device.release()
    step = SearchStep(method, sizes, device.name)
    device.forget_peak()
    times = device.times(step.run, sizes.warm_up, sizes.steps, sizes.seconds)
    middle = statistics.median(times)
    return {
        "milliseconds": round(middle, 2),
        "smallest": round(min(times), 2),
        "largest": round(max(times), 2),
        "steps": len(times),
        "peak_gib": round(device.peak() / 2**30, 3),
        "channels_last": method.channels_last,
        "precision": "bfloat16" if method.bfloat16 else "single",
        "hours": round(hours(middle, sizes.batch), 3),
    }
