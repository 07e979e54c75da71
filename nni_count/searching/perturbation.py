"""Decoding by perturbation: what a search keeps is what its trained space misses most when it is taken away (Wang et
al., Rethinking architecture selection in differentiable NAS, ICLR 2021).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nni_count.data.sample import Sample
from nni_count.errors import RunError, TrainingError
from nni_count.searching.frozen import view
from nni_count.searching.nni import BaseSuperNetModule, Categorical, CategoricalMultiple, architecture_logits
from nni_count.tasks.task import Task, error_share
from nni_count.training.batches import crop_loader
from nni_count.training.settings import Crops

#: of crops of the half for the architecture, on which all removals are compared; each has a path of its own
BATCHES = 8
#: orders of a node's edges, where there are too many ways to keep some of them to try all
ORDERS = 4

#: images ``(B, 3, S, S)`` and targets ``(B, K, s, s)``
Batches = Sequence[tuple[Tensor, Tensor]]


def judging_batches(samples: Sequence[Sample], task: Task, crops: Crops, stride: int, seed: int) -> Batches:
    """The first batches of a search's half for the architecture."""
    crops = replace(crops, num_workers=0)
    # the seed is that of the half's own stream
    return list(crop_loader(samples, task, crops, stride=stride, seed=2 * seed + 1, limit_batches=BATCHES))


def load_weights(space: nn.Module, checkpoint: Mapping[str, Any], file: Path) -> None:
    """Give a mutated space the weights, α and β of a search's checkpoint.

    Raises:
        RunError: it has none, or those of another space or strategy.
    """
    try:
        state = {name: checkpoint["state_dict"][f"training_module._model.{name}"] for name in space.state_dict()}
        space.load_state_dict(state)
    except (LookupError, RuntimeError, TypeError) as error:
        raise RunError(f"{file}: holds no trained space of this kind; give the folder of a one-shot search") from error


def by_perturbation(
    space: nn.Module, found: Mapping[str, Any], batches: Batches, task: Task, seed: int, device: torch.device
) -> dict[str, Any]:
    """What a trained space keeps when it is asked what it can least do without. Nothing is trained meanwhile.

    One choice of operations after another, in an order drawn by the seed, keeps the candidate whose removal raises the
    error most, and the others are gone; then the choices of edges do. Where no removal makes a difference, the
    strategy's own choice stays, and so do the poolings of the loss.

    Args:
        space: mutated, with trained weights; it is used up.
        found: what the search found: ``sample``, ``probabilities`` and ``provenance``.
        batches: crops and targets on which the error is measured.
        task: says what is minimised (:meth:`nni_count.Task.loss`), here of square errors.
        seed: of the order, of paths and of what strategies draw.
        device: where it is computed.

    Returns:
        The same three: ``probabilities`` are higher the more a removal costs.

    Raises:
        TrainingError: an error is no number.
    """
    start, sample, probabilities = time.perf_counter(), dict(found["sample"]), dict(found["probabilities"])
    removals = Removals(space.to(device), found, [(x.to(device), y.to(device)) for x, y in batches], task, seed)
    labels, before, costs = removals.order(), removals.error(), {}
    print(f"\nDecoding by perturbation: {len(labels)} choices", flush=True)
    for done, label in enumerate(labels, 1):
        cost, told = removals.costs(label), "makes no difference"
        if max(cost.values()) > min(cost.values()):
            kept = sorted(sorted(cost, key=cost.__getitem__, reverse=True)[: removals.number[label]])
            sample[label] = kept if isinstance(sample[label], (list, tuple)) else kept[0]
            probabilities[label] = _shares(cost)
            costs[label] = {choice: round(cost[choice], 4) for choice in kept}
            told = ", ".join(f"{choice} (removal costs {value:+.4f})" for choice, value in costs[label].items())
        removals.keep(label, sample[label])
        left = (time.perf_counter() - start) * (len(labels) / done - 1)
        print(f"{done}/{len(labels)} {label}: {told}; {left:.0f} s to go", flush=True)
    for label, candidates in removals.candidates.items():
        probabilities.setdefault(label, dict.fromkeys(candidates, 1 / len(candidates)))
    summary = {"error": [round(before, 4), round(removals.error(), 4)], "removal_costs": costs}
    provenance = {**found["provenance"], "perturbation": summary}
    return {"sample": sample, "probabilities": probabilities, "provenance": provenance}


def _shares(costs: Mapping[Any, float]) -> dict[Any, float]:
    """Costs as probabilities, in the scale of their own spread."""
    values = np.fromiter(costs.values(), float)
    shares = np.exp((values - values.max()) / values.std())
    return dict(zip(costs, (shares / shares.sum()).tolist(), strict=True))


class Removals:
    """How far off a trained space is with and without its candidates, always on the same crops.

    Where a strategy mixes the candidates of a choice, one is left out of the mixture (α = −∞). Where it trains paths
    through drawn candidates, mixtures say nothing: paths without a candidate are compared with all paths, one for each
    batch and way of making this choice, the same in all others.

    Args:
        space: mutated, with trained weights; its α changes.
        found: with the probabilities by which paths are drawn, as far as the strategy has some; else evenly.
        batches, task, seed: see :func:`by_perturbation`.
    """

    def __init__(self, space: Any, found: Mapping[str, Any], batches: Batches, task: Task, seed: int):
        self.space, self.sample, self.batches, self.task, self.seed = space, found["sample"], batches, task, seed
        for layer in space.modules():  # normalises by the batch: statistics of all candidates are those of none
            layer.train(isinstance(layer, nn.modules.batchnorm._BatchNorm))
        layers: list[Any] = [layer for layer in space.modules() if isinstance(layer, BaseSuperNetModule)]
        memo: dict[str, Any] = {}
        for layer in layers:
            memo.update(layer.resample(memo))  # as NNI asks all layers before a phase; those that mix answer nothing
        drawn = {str(label) for label in memo}
        #: of choices that are mixed
        self.alphas = {label: alpha.data for label, alpha in architecture_logits(space).items() if label not in drawn}
        self.mixed = [layer for layer in layers if str(getattr(layer, "label", "")) in self.alphas]
        for layer in self.mixed:
            layer._softmax = nn.Softmax(-1)  # without a strategy's noise
        listed = (Categorical, CategoricalMultiple)
        choices = {str(label): one for label, one in space.simplify().items() if isinstance(one, listed)}
        self.candidates = {label: list(choice.values) for label, choice in choices.items()}
        #: how many of them are kept
        self.number = {label: getattr(choice, "n_chosen", 1) or 1 for label, choice in choices.items()}
        #: where the space tells which edges operations are on, and so which choices a network has
        self.joins: dict[str, tuple[str, int]] = getattr(space, "joins", dict)()
        self.generator = np.random.default_rng(seed)
        #: of each drawn choice, for each batch, its candidates in the order in which a path takes them
        self.paths = {
            label: [self._drawn(self.candidates[label], found["probabilities"].get(label)) for _ in batches]
            for label in sorted(self.candidates.keys() - self.alphas.keys())
        }

    def _drawn(self, candidates: list[Any], probabilities: Mapping[Any, float] | None = None) -> list[Any]:
        shares = np.array([max((probabilities or {}).get(one, 1e-6), 1e-6) for one in candidates])
        places = self.generator.choice(len(candidates), len(candidates), replace=False, p=shares / shares.sum())
        return [candidates[int(place)] for place in places]

    def order(self) -> list[str]:
        """What there is to choose: operations, then edges."""
        deployed = {*self.joins, *(join for join, _ in self.joins.values())} or {*self.candidates}
        labels = self._drawn([label for label in self.candidates if label in deployed])
        undecided = [label for label in labels if len(self.candidates[label]) > self.number[label]]
        return sorted(undecided, key=lambda label: isinstance(self.sample[label], (list, tuple)))

    def costs(self, label: str) -> dict[Any, float]:
        """Candidate → how much its removal raises the error."""
        candidates = self.candidates[label]
        if label not in self.alphas:
            errors = [(taken, self.error({label: taken})) for taken in self.ways(candidates, self.number[label])]
            mean = float(np.mean([error for _, error in errors]))
            without = {one: [error for taken, error in errors if one not in taken] for one in candidates}
            return {one: float(np.mean(rest)) - mean for one, rest in without.items()}
        whole, alpha, costs = self.error(), self.alphas[label], {}
        for one in candidates:
            before = alpha.clone()
            self.keep(label, [other for other in candidates if other != one])
            costs[one] = self.error() - whole
            alpha.copy_(before)
        return costs

    def ways(self, candidates: list[Any], number: int) -> list[list[Any]]:
        """All ways of taking so many candidates, or where these are many, some of them, each candidate as often."""
        if math.comb(len(candidates), number) <= ORDERS * len(candidates):
            return [list(some) for some in combinations(candidates, number)]
        orders = [self._drawn(candidates) * 2 for _ in range(ORDERS)]
        return [order[first : first + number] for order in orders for first in range(len(candidates))]

    def keep(self, label: str, chosen: Any) -> None:
        """Let what is not chosen be gone."""
        kept = list(chosen) if isinstance(chosen, (list, tuple)) else [chosen]
        if label in self.alphas:
            self.alphas[label][[one not in kept for one in self.candidates[label]]] = -math.inf
        else:
            self.paths[label] = [kept for _ in self.batches]

    @torch.no_grad()
    def error(self, through: dict[str, Any] | None = None) -> float:
        """The mean error of the batches, from 0 to 1: square errors as a share of themselves and those of empty maps.
        Counts of crops, in which errors cancel, rank removals on other crops no better than chance.

        Args:
            through: by label, the candidates that all paths lead through.
        """
        errors = []
        with torch.random.fork_rng(devices=[]):
            for number, (images, targets) in enumerate(self.batches):
                torch.manual_seed(int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0]))
                for layer in self.mixed:
                    layer.resample({})
                network = self._network(number, through or {}) if self.paths else self.space
                output = network(images.contiguous(memory_format=torch.channels_last)).float()
                estimate = self.task.read(output, images.shape[-1] // output.shape[-1])
                squares = [self.task.loss(maps, targets, F.mse_loss) for maps in (estimate, torch.zeros_like(targets))]
                errors.append(float(error_share(*squares)))
        mean = float(np.mean(errors))
        if not math.isfinite(mean):
            raise TrainingError(f"decode: the error of the trained space is {mean}, which tells nothing; choose paper")
        return mean

    def _network(self, batch: int, through: dict[str, Any]) -> Any:
        taken = {label: orders[batch] for label, orders in self.paths.items()} | through
        for join, source in (self.joins[label] for label in through if label in self.joins):
            if join in taken:  # an operation on an edge that is not kept would make no difference
                taken[join] = [source, *(other for other in taken[join] if other != source)]
        path = {
            label: sorted(some[: self.number[label]]) if isinstance(self.sample[label], (list, tuple)) else some[0]
            for label, some in taken.items()
        }
        return view(self.space, {**self.sample, **path}, self.alphas)
