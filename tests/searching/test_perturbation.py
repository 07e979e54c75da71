"""What removals cost, on spaces in which it is plain what each candidate is good for."""

from collections import Counter
from pathlib import Path

import nni.nas.strategy as nni_strategies
import numpy as np
import pytest
import torch
from samples import Maps
from torch import nn

from nni_count.errors import RunError, TrainingError
from nni_count.searching.nni import InputChoice, LayerChoice, ModelSpace
from nni_count.searching.perturbation import Removals, by_perturbation, load_weights
from strategies import DARTS, ENAS, GDAS, GumbelDARTS, PartialChannel, Proxyless, RandomOneShot

MIXING = (DARTS, GumbelDARTS, nni_strategies.DARTS, nni_strategies.GumbelDARTS)
DRAWING = (GDAS, Proxyless, RandomOneShot, ENAS, nni_strategies.Proxyless, nni_strategies.RandomOneShot)
CPU = torch.device("cpu")


class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, image):
        return image[:, :1] * self.factor


class Plain(ModelSpace):
    """The target is the first channel: of the operations, ``one`` alone gives it. Of the three edges the last two carry
    half of it each, the first another channel. The loss has a choice of its own, on which the estimate does not depend.
    """

    def __init__(self):
        super().__init__()
        factors = {"zero": 0.0, "minus": -1.0, "one": 1.0, "tenth": 0.1}
        self.operation, self.again = (
            LayerChoice({name: Times(factor) for name, factor in factors.items()}, label="operation") for _ in range(2)
        )
        self.join = InputChoice(3, n_chosen=2, reduction="sum", label="join")
        self.pooling = LayerChoice({"avg": nn.AvgPool2d(2), "max": nn.MaxPool2d(2)}, label="pooling")

    def forward(self, image):
        return self.join([image[:, 1:2], 0.5 * self.operation(image), 0.5 * self.again(image)])


def batches(number=4):
    images = [torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in range(number)]
    return [(image, image[:, :1].clone()) for image in images]


WRONG = {"operation": "minus", "join": [0, 1], "pooling": "max"}
DISTRUST = {
    "operation": {"zero": 0.25, "minus": 0.6, "one": 0.13, "tenth": 0.02},
    "join": {0: 0.6, 1: 0.25, 2: 0.15},
}


def supernet(strategy, space=Plain, alpha=True):
    """A mutated space whose α is against what is right."""
    torch.manual_seed(0)
    mutated = strategy().mutate_model(space())
    for layer in mutated.modules():
        if alpha and isinstance(getattr(layer, "_arch_alpha", None), torch.Tensor) and str(layer.label) in DISTRUST:
            layer._arch_alpha.data = torch.tensor(list(DISTRUST[str(layer.label)].values())).log()
    return mutated


def perturbed(space, probabilities=None, seed=0, sample=WRONG):
    found = {"sample": sample, "probabilities": probabilities or {}, "provenance": {"strategy": "S"}}
    return by_perturbation(space, found, batches(), Maps(), seed, CPU)


@pytest.mark.parametrize("strategy", [*MIXING, *DRAWING])
def test_the_useful_operation_and_edges_are_found_though_alpha_says_otherwise(strategy, capsys):
    for seed in range(2):
        for trusted in ({}, DISTRUST):  # paths are drawn evenly or, most of them, where they are bad
            found = perturbed(supernet(strategy), trusted, seed)
            assert found["sample"] == {"operation": "one", "join": [1, 2], "pooling": "max"}
            for label, best in (("operation", ["one"]), ("join", [1, 2])):
                shares = found["probabilities"][label]
                assert sum(shares.values()) == pytest.approx(1)
                assert sorted(shares, key=shares.get)[-len(best) :] in (best, best[::-1])
            assert found["provenance"]["strategy"] == "S"
            costs = found["provenance"]["perturbation"]["removal_costs"]
            assert costs["operation"]["one"] > 0
            assert set(costs["join"]) == {1, 2}
            assert "pooling" not in costs
            before, after = found["provenance"]["perturbation"]["error"]
            assert after < before
    told = capsys.readouterr().out
    assert "pooling: makes no difference" in told
    assert "3/3 join" in told


def test_what_a_removal_costs_of_mixtures_and_of_paths():
    """A removal is measured for what it is: against the mixture of all, and against the mean of all paths."""
    mixing = Removals(supernet(DARTS), {"sample": WRONG, "probabilities": {}}, batches(), Maps(), 0)
    assert set(mixing.alphas) == {"operation", "join", "pooling"}
    whole = mixing.error()
    alpha = mixing.alphas["operation"]
    before = alpha.clone()
    costs = mixing.costs("operation")
    assert torch.equal(alpha, before)
    alpha[2] = -torch.inf
    assert costs["one"] == pytest.approx(mixing.error() - whole)

    drawing = Removals(supernet(RandomOneShot), {"sample": WRONG, "probabilities": {}}, batches(), Maps(), 0)
    assert not drawing.alphas
    for label, ways in (
        ("operation", [["zero"], ["minus"], ["one"], ["tenth"]]),
        ("join", [[0, 1], [0, 2], [1, 2]]),
    ):
        errors = [drawing.error({label: way}) for way in ways]
        for one, cost in drawing.costs(label).items():
            without = [error for error, way in zip(errors, ways, strict=True) if one not in way]
            assert cost == pytest.approx(np.mean(without) - np.mean(errors))


def test_of_many_ways_to_keep_edges_some_are_tried_each_edge_as_often():
    removals = Removals(supernet(RandomOneShot), {"sample": WRONG, "probabilities": {}}, batches(), Maps(), 0)
    assert len(removals.ways(list(range(5)), 2)) == 10
    ways = removals.ways(list(range(12)), 5)
    assert len(ways) == 48
    assert all(len(set(way)) == 5 for way in ways)
    assert set(Counter(edge for way in ways for edge in way).values()) == {20}


def test_gdas_is_asked_by_paths_of_operations_and_by_the_mixture_of_edges():
    removals = Removals(supernet(GDAS), {"sample": WRONG, "probabilities": DISTRUST}, batches(), Maps(), 0)
    assert set(removals.alphas) == {"join"}
    assert set(removals.paths) == {"operation", "pooling"}
    assert removals.order()[-1] == "join"


def test_a_seed_gives_the_same_again_and_leaves_torchs_own_draws_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    removals = Removals(
        supernet(PartialChannel, Narrow, alpha=False),
        {"sample": {"operation": "one"}, "probabilities": {}},
        batches(),
        Maps(),
        0,
    )
    torch.manual_seed(5)
    errors = [removals.error() for _ in range(2)]
    assert errors[0] == errors[1]  # the channels that are drawn are the same ones
    assert torch.equal(torch.rand(3), expected)
    other = Removals(removals.space, {"sample": {"operation": "one"}, "probabilities": {}}, batches(), Maps(), 1)
    assert other.error() != errors[0]


class Narrow(ModelSpace):
    """Of its eight channels a quarter passes the candidates."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        candidates = {"one": nn.Conv2d(8, 8, 1, bias=False), "two": nn.Conv2d(8, 8, 3, padding=1, bias=False)}
        self.operation = LayerChoice(candidates, label="operation")

    def forward(self, image):
        return self.operation(self.first(image))[:, :1]


class Alone(ModelSpace):
    """A node that keeps all of its edges, and an operation without an alternative: there is nothing to choose."""

    def __init__(self):
        super().__init__()
        self.operation = LayerChoice({"one": Times(1.0)}, label="operation")
        self.join = InputChoice(2, n_chosen=2, reduction="sum", label="join")

    def forward(self, image):
        return self.join([self.operation(image), image[:, :1]])


@pytest.mark.parametrize("strategy", [DARTS, RandomOneShot])
def test_where_there_is_nothing_to_choose_the_sample_stays(strategy):
    sample = {"operation": "one", "join": [0, 1]}
    found = perturbed(supernet(strategy, Alone, alpha=False), sample=sample)
    assert found["sample"] == sample
    assert found["provenance"]["perturbation"]["removal_costs"] == {}


def test_errors_that_are_no_numbers_and_other_weights_are_one_line():
    for strategy in (DARTS, RandomOneShot):
        space = supernet(strategy)
        space.operation["minus"].factor.data.fill_(float("nan"))
        with pytest.raises(TrainingError, match="error of the trained space is nan"):
            perturbed(space)
    state = {f"training_module._model.{name}": value for name, value in supernet(DARTS).state_dict().items()}
    load_weights(supernet(DARTS), {"state_dict": state}, Path("run"))
    for checkpoint in ({}, {"state_dict": {}}, {"state_dict": 3}, {"state_dict": torch.zeros(3)}):
        with pytest.raises(RunError, match="run: holds no trained space of this kind"):
            load_weights(supernet(DARTS), checkpoint, Path("run"))
    with pytest.raises(RunError, match="no trained space"):
        load_weights(supernet(DARTS, Narrow, alpha=False), {"state_dict": state}, Path("run"))
