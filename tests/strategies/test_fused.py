import copy

import pytest
import torch
from torch import nn

from nni_count.networks.wiring import Cell
from search_spaces import AMSNetSpace
from strategies import PartialChannel
from strategies.fused import COMPOSED, FusedCell, fuse
from strategies.partial_layer import Channels


@pytest.fixture(params=["random", "fixed"])
def forms(request):
    """A space edge by edge and fused, of equal weights and channels."""
    torch.manual_seed(0)
    space = PartialChannel(channels=request.param, fused=False).mutate_model(AMSNetSpace(width=64, map_stride=4))
    with torch.no_grad():
        for name, parameter in space.named_parameters():
            if name.endswith("_arch_alpha"):
                parameter.normal_()
    space(torch.rand(2, 3, 32, 32))  # draws the channels
    fused = copy.deepcopy(space)
    fuse(fused)
    return space, fused


def cells(space, kind):
    return [module for module in space.modules() if type(module) is kind]


def step(space, dtype, layout):
    """The density, the gradients and the statistics after a step."""
    space.to(dtype=dtype, memory_format=layout)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    density = space(images.to(dtype=dtype, memory_format=layout))
    space.loss(density, torch.full_like(density, 0.3)).backward()
    return density, {name: parameter.grad for name, parameter in space.named_parameters()}, space.state_dict()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outputs_gradients_and_statistics_are_those_of_the_edges(forms, dtype, layout):
    (density, gradients, state), (found, found_gradients, found_state) = (step(space, dtype, layout) for space in forms)
    torch.testing.assert_close(found, density, rtol=0, atol=1e-5)
    torch.testing.assert_close(found_gradients, gradients, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found_state, state, rtol=0, atol=1e-5)


def test_statistics_go_on_after_a_conversion_and_a_checkpoint(forms):
    plain, fused = forms
    for space in forms:
        step(space, torch.float32, torch.channels_last)
        step(space, torch.float64, torch.channels_last)
    fused.load_state_dict(plain.state_dict())
    copied = copy.deepcopy(fused)
    expected, *found = (step(space, torch.float64, torch.channels_last)[2] for space in (plain, copied, fused))
    for state in found:
        torch.testing.assert_close(state, expected, rtol=0, atol=1e-5)


def test_without_training_too(forms):
    plain, fused = (space.double().eval() for space in forms)
    pairs = list(zip(cells(plain, Cell), cells(fused, FusedCell), strict=True))
    assert len(pairs) == 7
    for cell, other in pairs:
        inputs = [10 * torch.rand(1, prepare[-2].in_channels, 8, 8).double() for prepare in cell.inputs]
        with torch.no_grad():
            expected, found = cell(*inputs), other(*inputs)
        assert expected.std() > 0.1
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_wide_cells_too():
    """More channels than are composed, so that each separable convolution stays two."""
    torch.manual_seed(0)
    space = PartialChannel(k=1, fused=False).mutate_model(AMSNetSpace(width=288, map_stride=4))
    plain = next(cell for cell in cells(space, Cell) if cell.inputs[1][-2].out_channels > COMPOSED)
    fused = FusedCell(copy.deepcopy(plain))
    inputs = [torch.rand(2, prepare[-2].in_channels, 8, 8) for prepare in plain.inputs]
    torch.testing.assert_close(fused(*inputs), plain(*inputs), rtol=0, atol=1e-5)


def test_the_channels_keep_their_memory_format():
    """One channel too, whose strides could mean either: what follows is several times slower in the other format."""
    features = torch.rand(2, 4, 6, 6).to(memory_format=torch.channels_last)
    channels = Channels(4, random=True)
    share = channels.share(features)
    assert share.stride() == (36, 1, 6, 1)
    assert channels.rejoin(features, share).is_contiguous(memory_format=torch.channels_last)


def test_cells_with_other_operations_stay_as_they_are():
    space = PartialChannel(fused=False).mutate_model(AMSNetSpace(width=64, map_stride=4))
    for edge in (edge for cell in cells(space, Cell) for edge in cell.edges.values()):
        edge["conv_1x1"] = nn.Identity()
    fuse(space)
    assert not cells(space, FusedCell)


def test_the_strategy_fuses_unless_told_otherwise():
    space = PartialChannel().mutate_model(AMSNetSpace(width=64, map_stride=4))
    assert len(cells(space, FusedCell)) == 7
