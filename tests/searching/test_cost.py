import math

import pytest
import torch
from samples import random_sample

from nni_count.errors import SettingError
from nni_count.networks import create
from nni_count.ops import NONE
from nni_count.searching.cost import MEASURES, Cost, cost_table
from nni_count.searching.decoding import strongest
from nni_count.searching.nni import architecture_logits, kept_edges
from search_spaces import AMSNetSpace
from strategies import DARTS

LARGER = {"cells": 8, "width": 64}


@pytest.fixture(scope="module")
def space():
    return AMSNetSpace(width=32, map_stride=4)


@pytest.fixture(scope="module", params=["parameters", "flops"])
def table(request, space):
    return cost_table(space, Cost(of=request.param, network=LARGER, image_size=(64, 96)))


@pytest.mark.filterwarnings("ignore:.*gives zeros")
@pytest.mark.parametrize("seed", range(6))
def test_costs_add_up_to_those_of_the_retrained_network(space, table, seed):
    architecture = space.architecture(random_sample(seed))
    with torch.device("meta"):
        network = create("amsnet", architecture, **LARGER)
        cost = MEASURES[table.cost.of](network, torch.zeros(1, 3, 64, 96))
    assert table.of(space.sample(architecture)) == pytest.approx(cost, rel=1e-6)


def test_seconds_are_measured(space):
    table = cost_table(space, Cost(of="seconds", image_size=(64, 64)))
    assert table.fixed >= 0
    assert all(cost >= 0 for costs in table.choices.values() for cost in costs.values())
    assert table.choices["extraction_2_0"]["dil_conv_7x7"] > table.choices["extraction_2_0"]["skip"]


def test_the_relaxed_cost_is_that_of_the_strongest_and_pulls_towards_cheaper_choices(space, table):
    mutated = DARTS().mutate_model(AMSNetSpace(width=32, map_stride=4))
    logits = architecture_logits(mutated)
    for values in logits.values():
        torch.nn.init.normal_(values)
    value = table.relaxed(logits, kept_edges(mutated))
    sample = {label: int(values.argmax()) for label, values in logits.items()}
    for label, number in sample.items():
        layer = table.choices.get(label)
        sample[label] = list(layer)[number] if layer else number
    kept = kept_edges(mutated)
    sample.update({label: torch.topk(logits[label], most).indices.tolist() for label, most in kept.items()})
    assert value.item() == pytest.approx(table.of(sample), rel=1e-5)
    value.backward()
    label = next(label for label in table.choices if table.joins[label][1] in sample[table.joins[label][0]])
    costs = torch.tensor(list(table.choices[label].values()))
    slope = logits[label].grad
    assert slope[costs.argmax()] > 0 > slope[costs.argmin()]  # a step down the gradient leaves the dearest


@pytest.mark.filterwarnings("ignore:.*won on all kept edges")
def test_an_architecture_above_the_budget_has_its_cheapest_losses_replaced(space):
    probabilities = {label: dict.fromkeys(choice.values, 0.1) for label, choice in space.simplify().items()}
    dear = random_sample(0)
    for label in dear:
        if label.count("_") == 2:
            dear[label] = "dil_conv_7x7"
            probabilities[label] = probabilities[label] | {"dil_conv_7x7": 0.2, "sep_conv_3x3": 0.19}
    everything = cost_table(space, Cost(network=LARGER)).of(dear)
    cost = Cost(budget=everything / 2, network=LARGER)
    architecture = strongest(space, dear, probabilities, {}, "paper", cost_table(space, cost))
    found = create("amsnet", architecture, **LARGER)
    total = sum(parameter.numel() for parameter in found.parameters())
    told = architecture.provenance["cost"]
    assert everything / 4 < total <= cost.budget
    assert told["value"] == total
    assert 0 < len(told["replaced_to_fit"]) < 12
    operations = [
        name for cell in (architecture.extraction, architecture.fusion) for e in cell.values() for name in e.values()
    ]
    assert NONE not in operations
    assert {"dil_conv_7x7", "sep_conv_3x3"} <= set(operations)
    free = strongest(space, dear, probabilities, {}, "paper", cost_table(space, Cost(network=LARGER)))
    assert free.provenance["cost"]["replaced_to_fit"] == []
    assert math.isinf(free.provenance["cost"]["budget"])


def test_a_budget_that_no_architecture_meets_names_the_cheapest(space):
    with pytest.raises(SettingError, match=r"cost\.budget: 1000 parameters, but the cheapest architecture has"):
        cost_table(space, Cost(budget=1000))
    with pytest.raises(SettingError, match=r"cost\.of: 'money' is unknown; choose parameters, flops, seconds"):
        Cost(of="money")
    with pytest.raises(SettingError, match=r"cost\.budget: -1"):
        Cost(budget=-1)
    with pytest.raises(SettingError, match=r"cost\.network: depth"):
        cost_table(space, Cost(network={"depth": 3}))
