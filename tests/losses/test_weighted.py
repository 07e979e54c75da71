import pytest
import torch

from nni_count.errors import SettingError
from nni_count.losses import LOSSES, create_loss
from nni_count.losses.scale_pyramid import DEFAULT_PYRAMID, ScalePyramidLoss
from nni_count.losses.spatial_abstraction import SpatialAbstractionLoss
from nni_count.losses.spatial_correlation import SpatialCorrelationLoss

ESTIMATE, TARGET = torch.rand(2, 2, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def test_a_sum_is_weighted():
    loss = create_loss({"sal": 2, "scl": {"weight": 0.1, "epsilon": 0.01}})
    expected = 2 * SpatialAbstractionLoss()(ESTIMATE, TARGET) + 0.1 * SpatialCorrelationLoss(0.01)(ESTIMATE, TARGET)
    torch.testing.assert_close(loss(ESTIMATE, TARGET), expected)
    assert loss.settings == {"sal": {"weight": 2.0}, "scl": {"weight": 0.1, "epsilon": 0.01}}


@pytest.mark.parametrize("name", [name for name, kind in LOSSES.items() if not hasattr(kind, "needs_points")])
def test_every_loss_stands_alone_by_its_name_and_its_settings_build_it_again(name):
    loss = create_loss(name)
    value = loss(ESTIMATE.clone().requires_grad_(), TARGET)
    torch.testing.assert_close(value, LOSSES[name]()(ESTIMATE, TARGET))
    torch.testing.assert_close(create_loss(loss.settings)(ESTIMATE, TARGET), value)
    value.backward()


def test_the_pyramid_is_the_given_else_the_searched_else_the_default():
    searched = ("max_4x4", "avg_2x2", "avg_2x2")
    for setting, pyramid, expected in (
        (None, None, ()),
        (None, searched, searched),
        ("sppl", searched, searched),
        ("sppl", None, DEFAULT_PYRAMID),
        ({"sppl": {"poolings": ["avg_6x6"]}}, searched, ("avg_6x6",)),
        ("mse", searched, ()),
    ):
        loss = create_loss(setting, pyramid)(ESTIMATE, TARGET)
        torch.testing.assert_close(loss, ScalePyramidLoss(expected)(ESTIMATE, TARGET))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("sall", "loss: 'sall' is unknown; known: mse, sppl, sal, scl, euclidean_ssim, count"),
        ({}, "loss: {}; give a name"),
        (3, "loss: 3; give a name"),
        ({"mse": 0}, "loss mse: weight 0; give a number above 0"),
        ({"mse": "much"}, "loss mse: weight 'much'"),
        ({"mse": float("nan")}, "loss mse: weight nan"),
        ({"sal": {"depth": 2}}, "loss sal: unknown setting 'depth'; known: weight, levels"),
        ({"sal": {"levels": "two"}}, "loss sal: levels 'two'; give a whole number"),
        ({"scl": {"epsilon": 0}}, "loss scl: epsilon 0; give a number between 0 and 1"),
        ({"euclidean_ssim": {"ssim": -1}}, "loss euclidean_ssim: ssim -1"),
        ({"sppl": {"poolings": ["avg_3x3"]}}, "pooling 'avg_3x3' is unknown; known: max_2x2"),
        ({"sppl": {"poolings": "avg_2x2"}}, "poolings 'avg_2x2'; give a list"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(setting, message):
    with pytest.raises(SettingError, match=message):
        create_loss(setting)


def test_a_searched_pyramid_stands_for_sppl_where_that_has_no_settings_of_its_own():
    double = {"sppl": lambda estimate, target: 2 * ScalePyramidLoss()(estimate, target)}
    for setting, share in (({"sppl": 1, "mse": 1}, 2), ({"sppl": {"poolings": list(DEFAULT_PYRAMID)}, "mse": 1}, 1)):
        expected = share * ScalePyramidLoss()(ESTIMATE, TARGET) + (ESTIMATE - TARGET).square().mean()
        torch.testing.assert_close(create_loss(setting)(ESTIMATE, TARGET, instead=double), expected)
