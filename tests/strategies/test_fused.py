import copy

import pytest
import torch
from samples import own_space, strip
from torch import nn

from nni_count.networks.wiring import Cell
from nni_count.ops import OPERATIONS, Operation, convolution
from nni_count.searching.nni import ModelSpace
from search_spaces import AMSNetSpace
from strategies import PartialChannel
from strategies.convolutions import COMPOSED
from strategies.fused import FusedCell, fuse
from strategies.partial_layer import Channels


def both(space, features, channels="random"):
    """A space edge by edge and fused, of equal weights and channels."""
    space = edge_by_edge(space, features, channels)
    fused = copy.deepcopy(space)
    fuse(fused)
    return space, fused


def edge_by_edge(space, features, channels):
    torch.manual_seed(0)
    space = PartialChannel(channels=channels, fused=False).mutate_model(space)
    with torch.no_grad():
        for name, parameter in space.named_parameters():
            if name.endswith("_arch_alpha"):
                parameter.normal_()
    space(features)  # draws the channels
    return space


@pytest.fixture(scope="module", params=["random", "fixed"])
def built(request):
    return edge_by_edge(AMSNetSpace(width=64, map_stride=4), torch.rand(2, 3, 32, 32), request.param)


@pytest.fixture
def forms(built):
    plain, fused = copy.deepcopy(built), copy.deepcopy(built)
    fuse(fused)
    return plain, fused


def cells(space, kind):
    return [module for module in space.modules() if type(module) is kind]


def step(space, dtype, layout, size=(2, 3, 32, 32)):
    """The density, the gradients and the statistics after a step."""
    space.to(dtype=dtype, memory_format=layout)
    images = torch.rand(size, generator=torch.Generator().manual_seed(1))
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


#: that edges compute in one step, in two, and one by one beside the others
OWN = {
    "conv_3x3": lambda channels, affine: convolution(channels, 3, affine=affine),
    "strip_conv_1x7": strip,
    "box": lambda channels, affine: nn.Sequential(nn.ReLU(), nn.AvgPool2d(3, 1, 1)),
    "conv_relu": lambda channels, affine: nn.Sequential(*convolution(channels, 3, affine=affine), nn.ReLU()),
    "skip_2": lambda channels, affine: nn.Identity(),
}
#: candidates, and the number of nodes
OTHERS = {
    "more operations": ([*OPERATIONS, *OWN], 4),
    "the others alone": (["none", "box", "strip_conv_1x7"], 2),
    "no skip": ([name for name in OPERATIONS if name != "skip"], 3),
    "no none": ([name for name in OPERATIONS if name != "none"], 5),
    "in another order": (["skip", "sep_conv_3x3", "none", "dil_conv_5x5", "conv_1x1", "skip_2"], 1),
}


@pytest.fixture
def own(monkeypatch):
    for name, build in OWN.items():
        monkeypatch.setitem(OPERATIONS, name, Operation(build))


class OneCell(ModelSpace):
    """An extraction cell whose nodes have so many channels."""

    def __init__(self, operations, nodes, channels, affine=False):
        super().__init__()
        parts = own_space(operations, nodes, 2).extraction_cell(2, affine)
        self.cell = Cell((8, 8), nodes * channels, parts)

    def forward(self, features):
        return self.cell(features, features.flip(2))

    def loss(self, output, target):
        return (output - target).square().mean()


@pytest.mark.parametrize("channels", [4, 16, 4 * (COMPOSED + 1)])
@pytest.mark.parametrize("others", OTHERS)
def test_other_operations_and_other_numbers_of_nodes(own, others, channels):
    forms = both(OneCell(*OTHERS[others], channels), torch.rand(2, 8, 9, 12))
    assert type(forms[1].cell) is FusedCell
    (density, gradients, state), (found, found_gradients, found_state) = (
        step(space, torch.float64, torch.channels_last, (2, 8, 9, 12)) for space in forms
    )
    torch.testing.assert_close(found, density, rtol=0, atol=1e-5)
    torch.testing.assert_close(found_gradients, gradients, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found_state, state, rtol=0, atol=1e-5)


def test_cells_of_which_nothing_can_be_taken_together_stay_as_they_are(own):
    for space in (OneCell(["skip", "box", "none"], 4, 4), OneCell(OPERATIONS, 4, 4, affine=True)):
        assert type(PartialChannel().mutate_model(space).cell) is Cell


def test_cells_whose_edges_choose_differently_stay_as_they_are():
    space = PartialChannel(fused=False).mutate_model(AMSNetSpace(width=64, map_stride=4))
    for cell in cells(space, Cell):
        cell.edges["0-3"]["conv_1x1"] = nn.Identity()
    fuse(space)
    assert not cells(space, FusedCell)


def test_the_strategy_fuses_unless_told_otherwise():
    space = PartialChannel().mutate_model(AMSNetSpace(width=64, map_stride=4))
    assert len(cells(space, FusedCell)) == 7
