import inspect

import pytest
import torch
from nni.nas.nn.pytorch import InputChoice, LayerChoice
from nni.nas.space import model_context
from samples import random_sample

from nni_count.errors import SettingError
from nni_count.networks import create
from nni_count.ops import NONE, OPERATIONS, POOLINGS
from search_spaces import AMSNetSpace

SETTINGS = {"width": 32, "map_stride": 4}


@pytest.fixture(scope="module")
def space():
    return AMSNetSpace(**SETTINGS)


@pytest.mark.filterwarnings("ignore:.*gives zeros")
@pytest.mark.parametrize("seed", range(20))
def test_a_frozen_space_is_the_network_of_its_architecture(space, seed):
    sample = random_sample(seed)
    with model_context(sample):
        frozen = AMSNetSpace(**SETTINGS)
    architecture = space.architecture(sample)
    network = create("amsnet", architecture, affine=False)
    weights = frozen.network.state_dict()
    network.load_state_dict({name: weights[name] for name in network.state_dict()})
    image, target = torch.rand(2, 3, 32, 32), torch.rand(2, 1, 8, 8)
    frozen.eval()
    network.eval()
    with torch.no_grad():
        estimate = network(image)
        assert estimate.shape == target.shape
        torch.testing.assert_close(frozen(image), estimate, atol=1e-5, rtol=1e-5)
        loss = sum_of_levels(estimate, target, architecture.pooling)
        torch.testing.assert_close(frozen.loss(estimate, target), loss, atol=1e-5, rtol=1e-5)


def sum_of_levels(estimate, target, poolings):
    """Eq. 3 and 4 of the paper, written down once more."""
    loss = (estimate - target).square().mean()
    for name in poolings:
        estimate, target = POOLINGS[name]()(estimate), POOLINGS[name]()(target)
        loss = loss + (estimate - target).square().mean()
    return loss


def test_cells_of_a_kind_share_their_labels(space):
    alphas = {"extraction": 14, "fusion": 7, "pooling": 3}
    betas = {"extraction": 4, "fusion": 2}
    layers = [module for module in space.modules() if isinstance(module, LayerChoice)]
    joins = [module for module in space.modules() if isinstance(module, InputChoice)]
    for kind, number in alphas.items():
        found = [layer.label for layer in layers if layer.label.startswith(kind)]
        assert len(set(found)) == number
        assert len(found) == number * (6 if kind == "extraction" else 1)
    for kind, number in betas.items():
        found = [join.label for join in joins if join.label.startswith(kind)]
        assert len(set(found)) == number
        assert len(found) == number * (6 if kind == "extraction" else 1)
    assert len(space.simplify()) == 24 + 6
    assert not any("/" in label for label in space.simplify())
    assert all(layer.names == list(OPERATIONS) for layer in layers if not layer.label.startswith("pooling"))


def test_a_node_whose_edges_are_all_none_takes_its_best_real_operation(space):
    sample = random_sample(0) | {f"extraction_4_{source}": NONE for source in range(4)} | {"extraction_4": [1, 3]}
    even = {label: dict.fromkeys(mutable.values, 0.1) for label, mutable in space.simplify().items()}
    even["extraction_4"] = {0: 0.9, 1: 0.1, 2: 0.1, 3: 0.2}  # 0 was not kept
    even["extraction_4_1"] = even["extraction_4_1"] | {NONE: 0.9, "skip": 0.3}
    even["extraction_4_3"] = even["extraction_4_3"] | {NONE: 0.9, "sep_conv_3x3": 0.2}
    with pytest.warns(UserWarning, match="extraction node 4.*sep_conv_3x3"):
        architecture = space.architecture(sample, even)
    assert architecture.extraction[4] == {1: NONE, 3: "sep_conv_3x3"}
    with pytest.warns(UserWarning, match="extraction node 4.*zeros"):
        assert space.architecture(sample).extraction[4] == {1: NONE, 3: NONE}


def test_a_kept_edge_of_none_stays_listed(space):
    sample = random_sample(0) | {"extraction_3": [0, 2], "extraction_3_0": NONE, "extraction_3_2": "skip"}
    assert space.architecture(sample, provenance={"seed": 1}).extraction[3] == {0: NONE, 2: "skip"}


@pytest.mark.filterwarnings("ignore:.*gives zeros")
@pytest.mark.parametrize("seed", range(4))
def test_an_architecture_and_its_sample_are_one(space, seed):
    architecture = space.architecture(random_sample(seed))
    assert space.architecture(space.sample(architecture)) == architecture


def test_the_joint_rule_ranks_edges_by_their_best_real_operation(space):
    even = {label: dict.fromkeys(mutable.values, 0.1) for label, mutable in space.simplify().items()}
    even["extraction_4"] = {0: 0.4, 1: 0.3, 2: 0.2, 3: 0.1}
    even["extraction_4_0"] = even["extraction_4_0"] | {NONE: 0.9}  # a strong edge without a strong operation
    even["extraction_4_1"] = even["extraction_4_1"] | {"skip": 0.3}  # 0.3 · 0.3
    even["extraction_4_2"] = even["extraction_4_2"] | {"conv_1x1": 0.5}  # 0.2 · 0.5
    sample = random_sample(0) | {"extraction_4": [0, 1], "extraction_4_0": NONE, "extraction_4_1": "skip"}
    assert space.architecture(sample, even).extraction[4] == {0: NONE, 1: "skip"}
    assert space.architecture(sample, even, rule="joint").extraction[4] == {1: "skip", 2: "conv_1x1"}
    with pytest.raises(SettingError, match="joint ranks by probabilities"):
        space.architecture(sample, rule="joint")


def test_the_number_of_kept_edges_is_a_setting():
    sample = AMSNetSpace(width=16, edges_per_node=3).simplify()
    assert [sample[f"extraction_{node}"].n_chosen for node in (2, 3, 4, 5)] == [2, 3, 3, 3]
    with pytest.raises(SettingError, match="edges_per_node"):
        AMSNetSpace(edges_per_node=0)


def test_the_signature_is_that_of_the_constructor(space):
    assert list(inspect.signature(AMSNetSpace).parameters) == [
        "cells",
        "width",
        "taps",
        "edges_per_node",
        "in_channels",
        "out_channels",
        "map_stride",
        "stem_stride",
        "trunk",
        "trunk_stride",
        "trunk_weights",
        "pyramid",
        "affine",
    ]
    assert set(space.settings) == set(inspect.signature(AMSNetSpace).parameters)
    parser = pytest.importorskip("jsonargparse").ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(AMSNetSpace, "space")
    assert parser.parse_args(["--space.cells", "7", "--space.width", "48"]).space.cells == 7
