import pytest
import torch
from conftest import LIGHT, random_architecture

from nni_count.architecture import Architecture
from nni_count.errors import SettingError
from nni_count.networks import create
from nni_count.networks.encoder import default_taps


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_the_map_has_the_size_that_the_stride_asks_for(architecture, stride):
    network = create("amsnet", architecture, map_stride=stride, width=16)
    assert network(torch.randn(2, 3, 32, 48)).shape == (2, 1, 32 // stride, 48 // stride)


@pytest.mark.parametrize("stem", [2, 4])
@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_coarser_stem_scales_all_sizes(architecture, stem, factor):
    network = create("amsnet", architecture, stem_stride=stem, map_stride=factor * stem, width=16)
    sizes = []
    network.cells[0].register_forward_hook(lambda _, __, out: sizes.append(tuple(out.shape[2:])))
    side = 8 * stem
    assert network(torch.randn(2, 3, side, 2 * side)).shape == (2, 1, 8 // factor, 16 // factor)
    assert sizes == [(8, 16)]
    assert network.multiple == 4 * stem


def test_a_coarser_stem_sees_every_pixel(architecture):
    stem = create("amsnet", architecture, stem_stride=4, map_stride=4, width=32).stem.eval()
    image = torch.zeros(1, 3, 8, 8)
    for channel in range(3):
        for row in range(8):
            changed = image.clone()
            changed[0, channel, row, 5] = 1
            before, after = (stem(torch.nn.functional.pixel_unshuffle(x, 4)) for x in (image, changed))
            where = (after - before).abs().sum((0, 1)) > 0
            assert where.nonzero().tolist() == [[row // 4, 1]]


def test_channels_and_sizes_follow_the_papers_plan(architecture):
    network = create("amsnet", architecture, cells=8, width=64)
    sizes = {}
    for number, cell in enumerate(network.cells, 1):
        cell.register_forward_hook(lambda _, __, out, number=number: sizes.__setitem__(number, tuple(out.shape[1:])))
    network(torch.randn(2, 3, 32, 32))
    assert sizes[1] == (16, 32, 32)
    assert sizes[2] == sizes[3] == (32, 16, 16)
    assert {sizes[number] for number in range(4, 9)} == {(64, 8, 8)}


def test_the_fusion_cell_gives_128_channels_at_the_papers_sizes(architecture):
    for width in (256, 512):
        assert create("amsnet", architecture, width=width).up_sampling.first[1].in_channels == 128


def test_taps():
    assert default_taps(6) == [4, 5, 6]
    assert default_taps(8) == [4, 6, 8]


def test_the_taps_move_along_when_the_network_is_deepened():
    architecture = random_architecture(0, LIGHT)
    architecture.network["taps"] = [4, 5, 6]
    assert create("amsnet", architecture).taps == [4, 5, 6]
    assert create("amsnet", architecture, cells=8).taps == [4, 6, 8]
    assert create("amsnet", architecture, cells=8, taps=[4, 5, 8]).taps == [4, 5, 8]


@pytest.mark.parametrize(("width", "published"), [(512, 3.79e6), (256, 1.51e6)])
def test_the_published_sizes_lie_within_the_range_of_architectures(width, published):
    sizes = [parameters(create("amsnet", random_architecture(seed), cells=8, width=width)) for seed in range(40)]
    assert min(sizes) < published < max(sizes)


def test_every_parameter_learns():
    """Where every input of the cells is used."""
    for seed in range(5):
        data = random_architecture(seed, LIGHT).to_dict()
        data["extraction"][2] = {0: "sep_conv_3x3", 1: "conv_1x1"}
        data["fusion"] = {3: {0: "conv_1x1", 1: "skip"}, 4: {2: "sep_conv_5x5", 3: "dil_conv_5x5"}}
        network = create("amsnet", Architecture.from_dict(data), width=16)
        network(torch.randn(2, 3, 32, 32)).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_a_node_whose_edges_are_all_none_is_zero():
    architecture = random_architecture(0)
    data = architecture.to_dict()
    data["fusion"] = {3: {0: "none", 1: "none"}, 4: {3: "skip", 0: "none"}}
    network = create("amsnet", Architecture.from_dict(data), width=16).eval()
    one, other = (network(torch.randn(1, 3, 16, 16)) for _ in range(2))
    torch.testing.assert_close(one, other)  # nothing of the image arrives


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cells": 5}, "network.cells: 5"),
        ({"width": 40}, "network.width: 40; choose a multiple of 16"),
        ({"width": "64"}, "network.width"),
        ({"taps": [4, 5]}, "network.taps"),
        ({"taps": [3, 5, 6]}, "network.taps"),
        ({"taps": [4, 5, 7]}, "network.taps"),
        ({"map_stride": 3}, "network.map_stride: 3; choose 1, 2 or 4"),
        ({"map_stride": 1, "stem_stride": 2}, "network.map_stride: 1; choose 2, 4 or 8 where cells end at stride 8"),
        ({"stem_stride": 3}, "network.stem_stride: 3; choose 1, 2 or 4"),
        ({"out_channels": 0}, "network.out_channels"),
        ({"depth": 3}, "'depth'; known: cells, width"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(architecture, settings, message):
    with pytest.raises(SettingError, match=message):
        create("amsnet", architecture, **settings)


def test_unknown_networks_list_the_known(architecture):
    with pytest.raises(SettingError, match="known: amsnet"):
        create("amsnett", architecture)
    with pytest.raises(SettingError, match="give --architecture"):
        create("amsnet")
