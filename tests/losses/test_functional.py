import pytest
import torch
from torch import nn

from nni_count.errors import SettingError
from nni_count.losses import (
    CountLoss,
    EuclideanSSIMLoss,
    ScalePyramidLoss,
    SpatialAbstractionLoss,
    SpatialCorrelationLoss,
    SquareError,
    count_loss,
    euclidean_ssim_loss,
    mean_ssim,
    scale_pyramid_loss,
    spatial_abstraction_loss,
    spatial_correlation_loss,
)
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


LOSSES = [SquareError(), ScalePyramidLoss(normalised=True), SpatialAbstractionLoss(), SpatialCorrelationLoss()]
LOSSES += [EuclideanSSIMLoss(), CountLoss()]
SHALLOW = [ScalePyramidLoss([], normalised=True), SpatialAbstractionLoss(0)]  # defined for a single pixel


def named(loss):
    return type(loss).__name__


@pytest.mark.parametrize("loss", LOSSES, ids=named)
def test_a_right_map_costs_nothing_and_the_gradient_is_right(loss):
    estimate, target = (torch.rand(2, 1, 9, 12, dtype=torch.float64) for _ in range(2))
    assert loss(target, target).item() == pytest.approx(0, abs=1e-12)
    assert loss(estimate, target) > 0
    assert torch.autograd.gradcheck(loss, (estimate.requires_grad_(), target))


@pytest.mark.parametrize("loss", [*LOSSES[:1], *SHALLOW, *LOSSES[3:]], ids=named)
@pytest.mark.parametrize("size", [1, 16])
@pytest.mark.parametrize(("estimated", "true"), [(0, 0), (0, 1), (1, 0)])
def test_maps_without_people_and_of_one_pixel_have_a_loss_and_a_gradient(loss, size, estimated, true):
    estimate = torch.full((2, 1, size, size), float(estimated), requires_grad=True)
    value = loss(estimate, torch.full((2, 1, size, size), float(true)))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(estimate.grad).all()
    assert (value.item() == pytest.approx(0, abs=1e-6)) == (estimated == true)


def test_sal_compares_maxima_of_cascaded_pools():
    estimate, target = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    estimate[0, 0, 0, 0] = 2.0
    pooled = 4 / 4 + 4 / 1  # 2×2 cells, then one
    assert spatial_abstraction_loss(estimate, target, 2).item() == pytest.approx(4 / 16 + pooled)
    assert spatial_abstraction_loss(estimate, target, 2, unpooled=False).item() == pytest.approx(pooled)
    with pytest.raises(SettingError, match="4×4 cannot be halved 3 times"):
        spatial_abstraction_loss(estimate, target, 3)
    with pytest.raises(SettingError, match="compares nothing"):
        spatial_abstraction_loss(estimate, target, 0, unpooled=False)


def test_scl_is_the_cosine_of_each_sample():
    target = torch.rand(2, 1, 8, 8)
    assert spatial_correlation_loss(5 * target, target).item() == pytest.approx(0, abs=1e-4)
    estimate = target.clone()
    estimate[1] *= -1  # one sample right, one opposite
    assert spatial_correlation_loss(estimate, target).item() == pytest.approx(1, abs=1e-4)


def test_ssim_is_that_of_gaussian_windows_cut_off_at_the_border():
    one, other = torch.rand(6, 14, dtype=torch.float64), torch.rand(6, 14, dtype=torch.float64)
    rows, columns = torch.arange(6.0)[:, None], torch.arange(14.0)[None]
    similarities = []
    for y in range(6):
        for x in range(14):
            inside = ((rows - y).abs() <= 5) & ((columns - x).abs() <= 5)
            window = inside * torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 1.5**2)).double()
            window /= window.sum()
            a, b = (window * one).sum(), (window * other).sum()
            spread = (window * (one - a) ** 2).sum() + (window * (other - b) ** 2).sum()
            joint = (window * (one - a) * (other - b)).sum()
            likeness = (2 * a * b + 1e-4) / (a**2 + b**2 + 1e-4)
            similarities.append(likeness * (2 * joint + 9e-4) / (spread + 9e-4))
    one, other = one[None, None], other[None, None]
    expected = torch.stack(similarities).mean()
    torch.testing.assert_close(mean_ssim(one, other), expected)
    mse = ((one - other) ** 2).mean()
    torch.testing.assert_close(euclidean_ssim_loss(one, other, 0.5), mse + 0.5 * (1 - expected))


def test_the_count_term_is_the_square_of_the_mean_densitys_error():
    estimate, target = torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    estimate[0, 0, 1, 2] = 8.0  # half a unit a pixel too many
    target[1, 0] = 1.0
    assert count_loss(estimate, target).item() == pytest.approx((0.5**2 + 1) / 2)


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
