"""Figures of untrained networks."""

import math

import numpy as np
import pytest
import torch
from small_space import SmallSpace
from torch import nn

from nni_count.errors import SettingError
from nni_count.networks import create, initialise
from nni_count.searching.proxies import PROXIES, synflow
from nni_count.searching.random_search import draw


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = create("amsnet", draw(SmallSpace(), np.random.RandomState(0)), width=16, map_stride=4)
    initialise(network)
    return network


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, 3, 32, 32, generator=generator), torch.rand(4, 1, 8, 8, generator=generator)


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_is_a_number_comes_again_and_leaves_the_weights_alone(network, batch, name):
    before = [weight.detach().clone() for weight in network.parameters()]
    figure = PROXIES[name](network, *batch)
    assert math.isfinite(figure)
    assert PROXIES[name](network, *batch) == pytest.approx(figure, rel=1e-6)
    assert network.training
    assert all(torch.equal(*pair) for pair in zip(before, network.parameters(), strict=True))
    assert all(weight.grad is None and weight.dtype == torch.float32 for weight in network.parameters())


def test_synflow_of_a_chain_is_its_weights_and_their_derivatives():
    chain = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Conv2d(1, 1, 1, bias=False))
    with torch.no_grad():
        chain[0].weight.fill_(-2.0)
        chain[1].weight.fill_(3.0)
    assert synflow(chain, torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)) == pytest.approx(math.log(12))  # 6 + 6


@pytest.mark.parametrize("name", ["naswot", "swap"])
def test_patterns_tell_images_apart_and_need_a_relu(name):
    def one(shift):
        layer = nn.Sequential(nn.Conv2d(1, 8, 3, bias=False), nn.ReLU())
        torch.manual_seed(0)
        images = torch.randn(8, 1, 8, 8)
        return PROXIES[name](layer, images * shift + (1 - shift), images)

    assert one(1.0) > one(0.05)  # images that are nearly the same have the same patterns
    with pytest.raises(SettingError, match="Conv2d has no ReLU, whose patterns it compares; choose another"):
        PROXIES[name](nn.Conv2d(3, 1, 1), torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4))


def test_swap_says_how_many_images_it_can_tell_apart(network):
    with pytest.raises(SettingError, match="swap: 63 images; give at most 62"):
        PROXIES["swap"](network, torch.zeros(63, 3, 8, 8), torch.zeros(63, 1, 2, 2))


def test_jacobians_of_a_linear_network_are_alike():
    linear, bent = nn.Conv2d(1, 1, 3), nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 1, 1))
    images = torch.randn(6, 1, 8, 8)
    alike, apart = (PROXIES["jacobian_covariance"](network, images, images) for network in (linear, bent))
    assert apart > alike
