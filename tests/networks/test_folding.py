"""Batch norms folded into convolutions change nothing but rounding."""

import numpy as np
import pytest
import torch
from model.test_graph import made
from torch import nn

from nni_count.model import load_model, load_trained, save_model
from nni_count.networks.folding import folded

IMAGE = np.random.default_rng(0).integers(0, 256, (37, 50, 3), np.uint8)


@pytest.mark.parametrize("name", ["amsnet", "tednet", "unet", "can", "mcnn"])
def test_all_batch_norms_are_folded(name):
    network = made(name).network
    image = torch.randn(1, 3, 32, 48)
    with torch.inference_mode():
        before = network(image)
        network = folded(network)
        torch.testing.assert_close(network(image), before, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_a_batch_norm_behind_anything_else_stays():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)).eval()
    network = folded(network)
    assert [type(layer) for layer in network] == [nn.BatchNorm2d, nn.Conv2d, nn.ReLU, nn.BatchNorm2d]


def test_a_model_estimates_by_a_folded_copy_and_keeps_its_network(tmp_path):
    model = made("tednet")
    before = model.map(IMAGE)
    model.fold()
    np.testing.assert_allclose(model.map(IMAGE), before, rtol=1e-3, atol=1e-5)
    assert (model.map(IMAGE) != before).any()
    save_model(model, tmp_path / "model.safetensors")
    np.testing.assert_array_equal(load_trained(tmp_path / "model.safetensors").map(IMAGE), before)
    np.testing.assert_array_equal(load_model(tmp_path / "model.safetensors").map(IMAGE), model.map(IMAGE))
    assert model.network.state_dict().keys() == made("tednet").network.state_dict().keys()


def test_a_network_without_batch_norms_is_not_copied():
    network = made("mcnn").network
    assert folded(network) is network
