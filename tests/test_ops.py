import pytest
import torch

from nni_count.ops import OPERATIONS, POOLINGS

PARAMETERS = {  # without batch norm, for 8 channels
    "conv_1x1": 64,
    "dil_conv_3x3": 9 * 64,
    "dil_conv_5x5": 25 * 64,
    "dil_conv_7x7": 49 * 64,
    "sep_conv_3x3": 9 * 8 + 64,
    "sep_conv_5x5": 25 * 8 + 64,
    "sep_conv_7x7": 49 * 8 + 64,
    "skip": 0,
    "none": 0,
}
REACH = {  # pixels to each side
    "conv_1x1": 0,
    "dil_conv_3x3": 2,
    "dil_conv_5x5": 4,
    "dil_conv_7x7": 6,
    "sep_conv_3x3": 1,
    "sep_conv_5x5": 2,
    "sep_conv_7x7": 3,
    "skip": 0,
}


def test_there_are_the_papers_nine_operations_and_six_poolings():
    assert list(OPERATIONS) == list(PARAMETERS)
    assert sorted(POOLINGS) == sorted(f"{kind}_{k}x{k}" for kind in ("max", "avg") for k in (2, 4, 6))


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_keeps_shape_and_has_its_parameters(name):
    operation = OPERATIONS[name].build(8, False)
    assert operation(torch.randn(2, 8, 11, 7)).shape == (2, 8, 11, 7)
    assert sum(parameter.numel() for parameter in operation.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", REACH)
def test_an_operation_reaches_as_far_as_its_name_says(name):
    operation = OPERATIONS[name].build(2, True).eval()
    image = torch.rand(1, 2, 21, 21).requires_grad_()
    operation(image)[0, :, 10, 10].sum().backward()
    touched = image.grad[0].abs().sum(0).nonzero()
    assert (touched.min().item(), touched.max().item()) == (10 - REACH[name], 10 + REACH[name])


def test_none_is_zero():
    assert not OPERATIONS["none"].build(3, True)(torch.randn(1, 3, 4, 4)).any()


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("size", [2, 8, 24, 96])
def test_a_pooling_halves_exactly_and_keeps_a_constant(name, size):
    pooled = POOLINGS[name]()(torch.full((1, 1, size, size), 3.0))
    assert pooled.shape[-2:] == (size // 2, size // 2)
    torch.testing.assert_close(pooled, torch.full_like(pooled, 3.0))  # padding would lower an average at the border
