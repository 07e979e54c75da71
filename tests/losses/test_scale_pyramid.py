import pytest
import torch
from torch import nn

from nni_count.errors import SettingError
from nni_count.losses.scale_pyramid import ScalePyramidLoss, scale_pyramid_loss
from nni_count.losses.square_error import SquareError
from nni_count.ops import POOLINGS


def test_without_levels_it_is_the_mean_square_error():
    a, b = torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(ScalePyramidLoss([])(a, b), ((a - b) ** 2).mean())
    torch.testing.assert_close(SquareError()(a, b), ((a - b) ** 2).mean())


def test_every_level_pools_the_one_before_and_has_its_own_mean():
    estimate, target = torch.randn(2, 1, 16, 16), torch.randn(2, 1, 16, 16)
    loss = ScalePyramidLoss(["avg_2x2", "max_2x2", "avg_2x2"])(estimate, target)
    expected = ((estimate - target) ** 2).mean()
    for pool in (nn.AvgPool2d(2), nn.MaxPool2d(2), nn.AvgPool2d(2)):
        estimate, target = pool(estimate), pool(target)
        expected = expected + ((estimate - target) ** 2).mean()
    torch.testing.assert_close(loss, expected)


def test_perfection_costs_nothing_and_gradients_are_right():
    loss = ScalePyramidLoss(["avg_4x4", "max_2x2", "avg_2x2"])
    estimate, target = (torch.randn(1, 1, 8, 8, dtype=torch.float64) for _ in range(2))
    assert loss(target, target) == 0
    assert torch.autograd.gradcheck(loss, (estimate.requires_grad_(), target))


def test_a_map_too_small_for_the_pyramid_says_so():
    pools = [POOLINGS["avg_2x2"]() for _ in range(3)]
    small = torch.zeros(1, 1, 4, 16)
    with pytest.raises(SettingError, match="4×16 cannot be halved 3 times; use larger crops"):
        scale_pyramid_loss(small, small, pools)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_normalised_a_map_that_is_wrong_by_a_factor_costs_the_same_by_any_pooling(pooling):
    target = torch.rand(2, 1, 16, 16)
    loss = ScalePyramidLoss([pooling], normalised=True)
    assert loss(0 * target, target).item() == pytest.approx(2)  # a level each
    assert loss(0.7 * target, target).item() == pytest.approx(2 * 0.3**2, rel=1e-4)
    assert loss(7 * target, 10 * target).item() == pytest.approx(loss(0.7 * target, target).item(), rel=1e-4)


def test_as_published_the_same_map_costs_least_by_the_widest_average():
    target = torch.zeros(1, 1, 32, 32)
    target[..., 8:9, 8:9] = 1.0
    costs = {pooling: ScalePyramidLoss([pooling])(0.7 * target, target).item() for pooling in POOLINGS}
    assert min(costs, key=costs.get) == "avg_6x6"
