"""What every network by name is asked."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from conftest import LIGHT, random_architecture
from samples import synthetic_crowds

from nni_count.architecture import Architecture
from nni_count.data.pixels import normalise
from nni_count.errors import SettingError
from nni_count.model import Model, load_model, save_model
from nni_count.networks import NETWORKS, create, initialise
from nni_count.networks.ablation import PARTS
from nni_count.networks.hand_designed import HandDesigned
from nni_count.networks.whole_image import whole_map
from nni_count.tasks.counting import Counting


def cells(name):
    """Those of a searched network, with every input used, so that every parameter can learn."""
    if issubclass(NETWORKS[name], HandDesigned):
        return None
    data = random_architecture(0, LIGHT).to_dict()
    data["extraction"][2] = {0: "sep_conv_3x3", 1: "conv_1x1"}
    data["fusion"] = {3: {0: "conv_1x1", 1: "skip"}, 4: {2: "sep_conv_5x5", 3: "dil_conv_5x5"}}
    return Architecture.from_dict(data)


#: one of each, and of the ablation's grid
VARIANTS: list[tuple[str, dict]] = [(name, {}) for name in NETWORKS if name != "ablation"]
VARIANTS += [("amsnet", {"stem_stride": 2, "map_stride": 2})]
VARIANTS += [("amsnet", {"trunk": "efficientnet_lite0", "trunk_stride": 8, "trunk_weights": "none"})]
VARIANTS += [("ablation", {"encoder": e, "decoder": d}) for e in PARTS for d in PARTS]


@pytest.fixture(
    scope="module", params=VARIANTS, ids=lambda variant: "-".join([variant[0], *map(str, variant[1].values())])
)
def network(request):
    """The large ones are slow to build."""
    torch.manual_seed(0)
    name, settings = request.param
    network = create(name, cells(name), **settings)
    initialise(network)
    return network


@pytest.fixture(autouse=True)
def evaluating(network):
    network.eval()
    network.zero_grad()


def name_of(network):
    return next(name for name, kind in NETWORKS.items() if type(network) is kind)


def test_the_map_has_the_size_that_its_stride_asks_for(network):
    stride = network.map_stride
    with torch.inference_mode():
        assert network(torch.randn(2, 3, 32, 48)).shape == (2, 1, 32 // stride, 48 // stride)


@pytest.mark.parametrize("shape", [(1, 1), (37, 50)])
def test_an_image_of_any_size_gets_a_map_of_the_whole_image(network, shape):
    assert network.multiple % network.map_stride == 0
    with torch.inference_mode():
        output = whole_map(network, torch.randn(3, *shape))
    assert output.shape == (1, 1, -(-shape[0] // network.map_stride), -(-shape[1] // network.map_stride))
    assert torch.isfinite(output).all()


def test_every_parameter_learns(network):
    network.train()
    images = torch.randn(2, 3, 32, 32)
    targets = torch.randn(2, 1, *2 * [32 // network.map_stride])
    for progress in (0, 0.4, 1):  # some are trained in stages
        network.training_loss(images, targets, torch.nn.functional.mse_loss, progress).backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not still


SMALL = 3_000_000  # parameters; the larger ones take minutes


def large(network):
    return sum(p.numel() for p in network.parameters()) > SMALL or name_of(network) in ("sanet", "ablation")


def test_four_images_are_learnt_by_heart(network):
    if large(network):
        pytest.skip("too large to be trained here; pytest -m slow does")
    learn_by_heart(network, learning_rate=2e-3)


@pytest.mark.slow
def test_four_images_are_learnt_by_heart_by_the_large(network):
    if not large(network):
        pytest.skip("was trained before")
    # the columns that the switch chooses from are small
    rates = {"switch_cnn": 1e-3, "sanet": 2e-3, "ablation": 2e-3}
    learn_by_heart(network, rates.get(name_of(network), 2e-4))


def learn_by_heart(network, learning_rate, steps=150):
    torch.manual_seed(0)
    network, task, stride = deepcopy(network).train(), Counting(), network.map_stride
    samples = synthetic_crowds(4, size=(32, 32), people=(2, 8))
    images = torch.stack([normalise(sample.read()) for sample in samples])
    targets = torch.stack([torch.from_numpy(task.target(sample, (32, 32), stride)) for sample in samples])
    people = task.estimate(targets, stride).sum((1, 2, 3))
    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    for step in range(steps):
        if (task.estimate(network(images), stride).sum((1, 2, 3)) - people).abs().sum() < 0.05 * people.sum():
            return
        optimizer.zero_grad()
        network.training_loss(images, targets, torch.nn.functional.mse_loss, step / steps).backward()
        optimizer.step()
    pytest.fail(f"the count is off by more than 5% after {steps} steps")


def test_a_loaded_model_counts_as_the_saved_one(network, tmp_path):
    model = Model(network, name_of(network), cells(name_of(network)), Counting(), {"seed": 4})
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    image = np.random.default_rng(0).integers(0, 256, (33, 20, 3), np.uint8)
    model.fold()  # as a loaded one is
    np.testing.assert_array_equal(loaded.density(image), model.density(image))
    assert (loaded.name, loaded.architecture, loaded.facts) == (model.name, model.architecture, model.facts)
    assert loaded.network.settings == network.settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 3}, "'depth'; known: .*in_channels, out_channels"),
        ({"in_channels": 0}, "network.in_channels: 0; give a number from 1 to 4096"),
        ({"out_channels": "2"}, "network.out_channels: '2'; give a number from 1 to 4096"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(network, settings, message):
    with pytest.raises(SettingError, match=message):
        create(name_of(network), cells(name_of(network)), **settings)
