"""A tenth operation, registered, and cells of other nodes and operations, are searched, exported, retrained, drawn and
costed like the paper's.
"""

import csv

import pytest
import torch
from samples import own_space, random_sample, strip
from short import short

from nni_count.architecture import Architecture, read_architecture
from nni_count.commands.retrain import retrain as retraining
from nni_count.commands.search import search as one_shot_search
from nni_count.errors import ArchitectureError, SettingError
from nni_count.model import load_model
from nni_count.networks import create
from nni_count.ops import OPERATIONS, Operation
from nni_count.pictures.cells import _cells_figure, draw_cells
from nni_count.searching.cost import Cost, cost_table
from search_spaces import AMSNetSpace
from strategies import DARTS, GDAS, PartialChannel

search, retrain = short(one_shot_search), short(retraining)
pytestmark = pytest.mark.filterwarnings("ignore")
STRIP = "strip_conv_1x7"
TINY = {
    "data": {"path": "synthetic", "train": 4, "test": 1, "size": 48},
    "crop_size": 32,
    "batch_size": 1,
    "accelerator": "cpu",
    "seed": 1,
}


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(OPERATIONS, STRIP, Operation(strip, "strips", "#b83280"))


def searched(space, strategy, out, validated=0):
    """The architecture, and what was logged after the epoch."""
    settings = {"max_epochs": 1, "limit_train_batches": 1, "validation_images": validated}
    found = search(**TINY, space=space, strategy=strategy, out=out, **settings)
    with (out / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    figures = {name: float(value) for name, value in row.items() if value and "second" not in name}
    return found, {name: torch.tensor(figure) for name, figure in figures.items()}


def costs_add_up(space, architecture):
    """What the table says of an architecture is what its network has."""
    cost = cost_table(space, Cost()).of(space.sample(architecture))
    network = create("amsnet", architecture)
    assert cost == sum(parameter.numel() for parameter in network.parameters())


def test_edges_computed_together_and_one_by_one_are_searched_alike(tmp_path):
    (_, together), (_, one_by_one) = (
        searched(
            own_space(OPERATIONS, 1, 1)(width=16, map_stride=4), PartialChannel(fused=fused), tmp_path / str(fused)
        )
        for fused in (True, False)
    )
    assert sum(STRIP in name for name in together) == 2 + 3
    torch.testing.assert_close(together, one_by_one, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("strategy", [DARTS, GDAS])
def test_a_tenth_operation_is_searched(tmp_path, strategy):
    found, figures = searched(AMSNetSpace(width=16, map_stride=4), strategy(), tmp_path / "run")
    assert read_architecture(tmp_path / "run" / "architecture.yaml") == found
    assert sum(STRIP in name for name in figures) == 14 + 7


def test_a_tenth_operation_is_retrained_drawn_and_costed(tmp_path, monkeypatch):
    space = AMSNetSpace(width=16, map_stride=4)
    sample = random_sample(0)
    sample.update({label: STRIP for label in sample if label.startswith("extraction_5_")})
    architecture = space.architecture(sample)
    costs_add_up(space, architecture)
    texts = [text.get_text() for text in _cells_figure(architecture).axes[0].texts]
    assert texts.count("strip conv 1×7") == 2
    assert texts.count("strips") == 1
    retrain(**TINY, architecture=architecture, out=tmp_path / "run", max_steps=1)
    assert load_model(tmp_path / "run" / "model.safetensors").architecture == architecture
    monkeypatch.delitem(OPERATIONS, STRIP)
    with pytest.raises(ArchitectureError, match=f"extraction.5.*unknown operation '{STRIP}'.*install or import"):
        Architecture.from_dict(architecture.to_dict())


@pytest.mark.parametrize(
    ("missing", "nodes", "fusing", "width"),
    [("skip", 3, 1, 12), pytest.param("none", 5, 3, 20, marks=pytest.mark.slow)],
)
def test_cells_of_other_nodes_and_operations(tmp_path, missing, nodes, fusing, width):
    Space = own_space([name for name in OPERATIONS if name != missing], nodes, fusing)
    run = tmp_path / "run"
    found, _ = searched(Space(width=width, map_stride=4), DARTS(), run, validated=1)
    assert list(found.extraction) == list(range(2, 2 + nodes))
    assert list(found.fusion) == list(range(3, 3 + fusing))
    assert read_architecture(run / "architecture.yaml") == found
    costs_add_up(Space(width=width), found)
    draw_cells(found, tmp_path / "cells.png")
    model = retrain(**TINY, architecture=found, out=tmp_path / "model", max_steps=1, network={"cells": 7})
    assert model.network.settings["width"] == width


def test_a_budget_is_kept_where_no_skip_is_cheapest(tmp_path):
    """Nothing is left to choose but operations with weights, and ``none``, which is no way out."""
    space = own_space(["dil_conv_7x7", "conv_1x1", "none"], 3, 2)(width=12)
    table = cost_table(space, Cost())
    cheapest = dict.fromkeys(table.choices, "conv_1x1")
    with pytest.raises(SettingError, match="but the cheapest architecture has"):
        cost_table(space, Cost(budget=table.fixed))
    sample = {**cheapest, **{label: [0, 1] for label, _ in table.joins.values()}}
    cost = Cost(budget=table.of(sample))
    dear = dict.fromkeys(table.choices, "dil_conv_7x7") | {label: [0, 1] for label, _ in table.joins.values()}
    even = {label: dict.fromkeys(costs, 0.3) for label, costs in table.choices.items()}
    kept = cost_table(space, cost).within_budget(dear, even)
    assert {kept[label] for label, (join, number) in table.joins.items() if number in kept[join]} == {"conv_1x1"}


def test_an_unknown_candidate_lists_the_known():
    with pytest.raises(SettingError, match=r"'conv_9x9' is unknown; known: conv_1x1, .*strip_conv_1x7"):
        own_space(["conv_9x9"], 4, 2)()


@pytest.mark.parametrize(("nodes", "width", "message"), [(3, 16, "choose a multiple of 12"), (5, 4, "of 20")])
def test_a_width_that_the_nodes_cannot_share_is_refused(nodes, width, message):
    with pytest.raises(SettingError, match=rf"network.width: {width}; .*{message}"):
        own_space(OPERATIONS, nodes, 2)(width=width)


def test_a_pyramid_of_other_levels(tmp_path):
    class Deeper(AMSNetSpace):
        pyramid_levels = 4

    space = Deeper(width=16, map_stride=4)
    assert space.multiple == 64
    architecture = space.architecture(random_sample(0) | {"pooling_4": "max_4x4"})
    assert architecture.pooling[3] == "max_4x4"
    assert space.architecture(space.sample(architecture)) == architecture
    draw_cells(architecture, tmp_path / "cells.png")
    space.loss(torch.rand(1, 1, 16, 16, requires_grad=True), torch.rand(1, 1, 16, 16)).backward()
