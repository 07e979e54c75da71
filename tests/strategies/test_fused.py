import copy

import pytest
import torch
from samples import own_space, strip
from small_space import SmallSpace
from torch import nn

from nni_count.networks.wiring import Cell
from nni_count.ops import OPERATIONS, Operation, convolution
from nni_count.searching.nni import ModelSpace
from search_spaces import AMSNetSpace
from strategies import PartialChannel
from strategies.convolutions import COMPOSED
from strategies.fused import FusedCell, fuse
from strategies.partial_layer import Channels


def both(space, features, channels="random", k=4):
    """A space edge by edge and fused, of equal weights and channels."""
    space = edge_by_edge(space, features, channels, k)
    fused = copy.deepcopy(space)
    fuse(fused)
    return space, fused


def edge_by_edge(space, features, channels, k=4):
    torch.manual_seed(0)
    space = PartialChannel(k=k, channels=channels, fused=False).mutate_model(space)
    with torch.no_grad():
        for name, parameter in space.named_parameters():
            if name.endswith("_arch_alpha"):
                parameter.normal_()
    space(features)  # draws the channels
    return space


def cells(space, kind):
    return [module for module in space.modules() if type(module) is kind]


def step(space, dtype, layout, size):
    """The density, the gradients and the statistics after a step."""
    space.to(dtype=dtype, memory_format=layout)
    images = torch.rand(size, generator=torch.Generator().manual_seed(1))
    density = space(images.to(dtype=dtype, memory_format=layout))
    space.loss(density, torch.full_like(density, 0.3)).backward()
    return density, {name: parameter.grad for name, parameter in space.named_parameters()}, space.state_dict()


#: of every two settings each pair
PAIRS = [
    ("random", torch.float32, torch.contiguous_format),
    ("random", torch.float64, torch.channels_last),
    ("fixed", torch.float32, torch.channels_last),
    ("fixed", torch.float64, torch.contiguous_format),
]


@pytest.fixture(scope="module")
def built():
    """Spaces whose edges are computed one by one, by their channels."""
    features = torch.rand(2, 3, 32, 32)
    return {
        channels: edge_by_edge(AMSNetSpace(width=64, map_stride=4), features, channels)
        for channels in ("random", "fixed")
    }


def assert_alike(forms, dtype, layout, size):
    (density, gradients, state), (found, found_gradients, found_state) = (
        step(space, dtype, layout, size) for space in forms
    )
    torch.testing.assert_close(found, density, rtol=0, atol=1e-5)
    torch.testing.assert_close(found_gradients, gradients, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found_state, state, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("channels", "dtype", "layout"), PAIRS)
def test_outputs_gradients_and_statistics_are_those_of_the_edges(built, channels, dtype, layout):
    forms = [copy.deepcopy(built[channels]) for _ in range(2)]
    fuse(forms[1])
    assert_alike(forms, dtype, layout, (2, 3, 32, 32))


@pytest.mark.parametrize("channels", ["random", "fixed"])
def test_without_training_too(built, channels):
    for cell in cells(copy.deepcopy(built[channels]).double().eval(), Cell):
        inputs = [10 * torch.rand(1, prepare[-2].in_channels, 8, 8).double() for prepare in cell.inputs]
        with torch.no_grad():
            expected, found = cell(*inputs), FusedCell(cell)(*inputs)
        assert expected.std() > 0.1
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


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


SIZE = (2, 8, 9, 12)


@pytest.mark.parametrize("channels", [4, 16, 4 * (COMPOSED + 1)])
@pytest.mark.parametrize("others", OTHERS)
def test_other_operations_and_other_numbers_of_nodes(own, others, channels):
    """With the most channels fewer are composed, so that each separable convolution stays two."""
    forms = both(OneCell(*OTHERS[others], channels), torch.rand(SIZE))
    assert type(forms[1].cell) is FusedCell
    assert_alike(forms, torch.float64, torch.channels_last, SIZE)


def test_all_channels_of_wide_cells_too():
    forms = both(OneCell(list(OPERATIONS), 2, COMPOSED + 1), torch.rand(SIZE), k=1)
    assert type(forms[1].cell) is FusedCell
    assert_alike(forms, torch.float64, torch.channels_last, SIZE)


@pytest.mark.parametrize("channels", ["random", "fixed"])
def test_statistics_go_on_after_a_conversion_and_a_checkpoint(own, channels):
    forms = plain, fused = both(OneCell(*OTHERS["more operations"], 16), torch.rand(SIZE), channels)
    for space in forms:
        step(space, torch.float32, torch.channels_last, SIZE)
        step(space, torch.float64, torch.channels_last, SIZE)
    fused.load_state_dict(plain.state_dict())
    copied = copy.deepcopy(fused)
    expected, *found = (step(space, torch.float64, torch.channels_last, SIZE)[2] for space in (plain, copied, fused))
    for state in found:
        torch.testing.assert_close(state, expected, rtol=0, atol=1e-5)


def test_cells_of_which_nothing_can_be_taken_together_stay_as_they_are(own):
    for space in (OneCell(["skip", "box", "none"], 4, 4), OneCell(OPERATIONS, 4, 4, affine=True)):
        assert type(PartialChannel().mutate_model(space).cell) is Cell


def test_cells_whose_edges_choose_differently_stay_as_they_are():
    space = PartialChannel(fused=False).mutate_model(OneCell(OPERATIONS, 4, 16))
    space.cell.edges["0-3"]["conv_1x1"] = nn.Identity()
    fuse(space)
    assert type(space.cell) is Cell


def test_the_strategy_fuses_unless_told_otherwise():
    space = PartialChannel().mutate_model(SmallSpace(width=64, map_stride=4))
    assert len(cells(space, FusedCell)) == 7
    assert not cells(PartialChannel(fused=False).mutate_model(SmallSpace(width=64, map_stride=4)), FusedCell)
