"""What an architecture costs, so that a search can be given a budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Annotated, Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nni_count.errors import SettingError
from nni_count.networks import number_of_parameters
from nni_count.ops import NONE
from nni_count.runs.ranges import Range, check
from nni_count.searching.frozen import frozen
from nni_count.searching.nni import LayerChoice, Probabilities, architecture_logits, kept_edges
from nni_count.searching.space import Space

REPEATS = 5  # of a measured time, whose median counts


@dataclass(frozen=True)
class Cost:
    """What the network of a found architecture may cost at most.

    Args:
        of: ``parameters``, ``flops`` of an image (2 × multiply-adds), or ``seconds`` an image, measured here.
        budget: the most that is allowed, e.g. 1.5e6 parameters.
        network: the size at which it will be retrained, e.g. ``{cells: 8, width: 512}``; by default the space's.
        image_size: height and width for FLOPs and seconds, in pixels.
        weight: how strongly a cost above the budget counts: at twice the budget, this share of the loss.
    """

    of: Literal["parameters", "flops", "seconds"] = "parameters"
    budget: float = math.inf
    network: dict[str, Any] = field(default_factory=dict)
    image_size: Annotated[tuple[int, int], Range(16, 16384)] = (768, 1024)
    weight: Annotated[float, Range(0)] = 1.0

    def __post_init__(self) -> None:
        check(Cost, vars(self), "cost.")
        if self.of not in MEASURES:
            raise SettingError(f"cost.of: {self.of!r} is unknown; choose {', '.join(MEASURES)}")
        if not self.budget > 0:
            raise SettingError(f"cost.budget: {self.budget}; give a positive number of {self.of}")


@dataclass(frozen=True)
class CostTable:
    """Costs that add up: a fixed part, and one for every choice of every operation.

    Args:
        cost: what is counted, and how much is allowed.
        fixed: of all that is no choice.
        choices: label → choice → cost, summed over all places that share the label.
        joins: label of an operation → label of the choice of edges on which it depends, and its number there.
    """

    cost: Cost
    fixed: float
    choices: dict[str, dict[Any, float]]
    joins: dict[str, tuple[str, int]]

    def of(self, sample: Mapping[str, Any]) -> float:
        """The cost of the network that a sample (label → choice) describes."""
        return self.fixed + sum(self.choices[label][sample[label]] for label in self._kept(sample))

    def relaxed(self, logits: Mapping[str, Tensor], kept: Mapping[str, int]) -> Tensor:
        """The cost of the strongest choices, a scalar whose gradient is that of the expected cost.

        Args:
            logits: label → α or β.
            kept: label of a choice of edges → how many it keeps.
        """
        total = torch.tensor(self.fixed)
        for label, costs in self.choices.items():
            values = torch.tensor(list(costs.values()), device=logits[label].device)
            expected = (_straight_through(logits[label], 1) * values).sum()
            if label in self.joins:
                join, number = self.joins[label]
                expected = expected * _straight_through(logits[join], kept[join])[number]
            total = total.to(expected.device) + expected
        return total

    def penalise(self, space: nn.Module, loss: Tensor) -> Tensor:
        """A loss, and its share by which the strongest choices of a mutated space lie above the budget."""
        value = self.relaxed(architecture_logits(space), kept_edges(space))
        return loss + self.cost.weight * loss.detach() * torch.relu(value / self.cost.budget - 1)

    def within_budget(self, sample: Mapping[str, Any], probabilities: Probabilities) -> dict[str, Any]:
        """The sample with as many operations replaced by cheaper ones as the budget asks for.

        Each time the one goes that saves most for what it gives up in probability; none becomes ``none``.
        """
        sample = dict(sample)
        while (above := self.of(sample) - self.cost.budget) > 0:
            replacements = [
                (self._merit(label, sample[label], choice, above, probabilities[label]), label, choice)
                for label in self._kept(sample)
                for choice, cost in self.choices[label].items()
                if choice != NONE and cost < self.choices[label][sample[label]]
            ]
            _, label, choice = max(replacements)  # the cheapest choices of all are within the budget
            sample[label] = choice
        return sample

    def _kept(self, sample: Mapping[str, Any]) -> list[str]:
        return [
            label
            for label in self.choices
            if label not in self.joins or self.joins[label][1] in _listed(sample[self.joins[label][0]])
        ]

    def _merit(self, label: str, now: Any, then: Any, above: float, probabilities: Mapping[Any, float]) -> float:
        saved = min(above, self.choices[label][now] - self.choices[label][then])
        return saved / max(1e-6, math.log(probabilities[now] / probabilities[then]))


def _listed(chosen: Any) -> list[int]:
    return list(chosen) if isinstance(chosen, (list, tuple)) else [chosen]


def _straight_through(logits: Tensor, kept: int) -> Tensor:
    """1 for the strongest and 0 for the others, with the gradient of ``kept`` times the softmax."""
    soft = torch.softmax(logits, -1) * kept
    hard = torch.zeros_like(soft).scatter_(0, torch.topk(logits, kept).indices, 1.0)
    return hard + soft - soft.detach()


def cost_table(space: Space, cost: Cost) -> CostTable:
    """Measure the candidates of a space, each where it stands.

    Args:
        space: not mutated; the candidates of its ``LayerChoice`` take one map.
        cost: what is measured, and at which size.

    Raises:
        SettingError: no architecture of the space is within the budget.
    """
    measure = MEASURES[cost.of]
    with torch.device("cpu" if cost.of == "seconds" else "meta"):
        deployed: Any = cast(nn.Module, space.deployed(**cost.network)).eval()
        channels = space.settings.get("in_channels", 3)
        image = torch.zeros(1, channels, *(side - side % space.multiple for side in cost.image_size))
    layers = [module for module in deployed.modules() if isinstance(module, LayerChoice)]
    seen: dict[tuple[str, torch.Size], float] = {}
    choices: dict[str, dict[Any, float]] = {}
    with _inputs(layers) as inputs, torch.inference_mode():
        deployed.loss(map_ := deployed(image), map_)
    for layer, features in inputs:
        costs = choices.setdefault(layer.label, dict.fromkeys(layer.names, 0.0))
        for name in layer.names:
            key = (str(layer[name]), features)
            if key not in seen:
                seen[key] = measure(layer[name], torch.zeros(features, device=image.device))
            costs[name] += seen[key]
    joins = space.joins()
    choices = {label: costs for label, costs in choices.items() if label in joins}  # the loss is not deployed
    sample: dict[str, Any] = {label: parameter.default(None) for label, parameter in deployed.simplify().items()}
    for label, costs in choices.items():
        sample[label] = min((choice for choice in costs if choice != NONE), key=costs.__getitem__)
    # a frozen space holds the operations of all edges, of those too that it does not keep
    own = sum(costs[sample[label]] for label, costs in choices.items())
    fixed = max(0.0, measure(frozen(deployed, sample), image) - own)
    table = CostTable(cost, fixed, choices, joins)
    if table.of(sample) > cost.budget:
        raise SettingError(
            f"cost.budget: {cost.budget:g} {cost.of}, but the cheapest architecture has {table.of(sample):.4g} "
            "at this size; allow more, or set a smaller cost.network"
        )
    return table


@contextmanager
def _inputs(layers: list[Any]) -> Any:
    """The layers in the order in which they are run, with the shape of their input."""
    found: list[tuple[Any, torch.Size]] = []
    hooks = [
        layer.register_forward_pre_hook(lambda layer, args: found.append((layer, args[0].shape))) for layer in layers
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _parameters(module: nn.Module, _: Tensor) -> float:
    return float(number_of_parameters(module))


def _flops(module: nn.Module, features: Tensor) -> float:
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        module(features)
    return float(counter.get_total_flops())


def _seconds(module: nn.Module, features: Tensor) -> float:
    features = features.to(memory_format=torch.channels_last)
    module = module.to(memory_format=torch.channels_last)
    times = []
    with torch.inference_mode():
        module(features)
        for _ in range(REPEATS):
            start = time.perf_counter()
            module(features)
            times.append(time.perf_counter() - start)
    return median(times)


#: name → measure of a module on features
MEASURES: dict[str, Callable[[nn.Module, Tensor], float]] = {
    "parameters": _parameters,
    "flops": _flops,
    "seconds": _seconds,
}
