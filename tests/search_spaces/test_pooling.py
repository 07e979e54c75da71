import pytest
import torch
from nni.nas.space import model_context
from torch import nn

from nni_count.errors import SettingError
from nni_count.losses.scale_pyramid import ScalePyramidLoss, scale_pyramid_loss
from nni_count.ops import POOLINGS
from search_spaces import AMSNetSpace
from search_spaces.pooling import SearchedPyramid

CHOSEN = ("max_4x4", "avg_6x6", "avg_2x2")
LABELS = ("pooling_1", "pooling_2", "pooling_3")


class Mixture(nn.Module):
    """All poolings, weighted by softmax(α), as a differentiable search computes a choice."""

    def __init__(self):
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(len(POOLINGS)))
        self.poolings = [build() for build in POOLINGS.values()]

    def forward(self, density):
        return sum(w * pool(density) for w, pool in zip(self.alpha.softmax(0), self.poolings, strict=True))


def drift(normalised):
    """The pooling towards which α moves when the estimate is too low by a factor, and how fast."""
    target = torch.zeros(1, 1, 32, 32)
    target[..., 4::9, 4::9] = 1.0
    mixture = Mixture()
    scale_pyramid_loss(0.7 * target, target, [mixture], normalised).backward()
    return list(POOLINGS)[int(mixture.alpha.grad.argmin())], mixture.alpha.grad.abs().max().item()


def test_as_published_alpha_drifts_to_the_widest_average_and_normalised_it_stays():
    assert drift(normalised=False)[0] == "avg_6x6"
    assert drift(normalised=False)[1] > 1e-4
    assert drift(normalised=True)[1] < 1e-6


@pytest.mark.parametrize("form", ["published", "normalised"])
def test_the_form_is_a_setting_of_the_space(form):
    with model_context(dict(zip(LABELS, CHOSEN, strict=True))):
        pyramid = SearchedPyramid(form)
    estimate, target = torch.rand(2, 2, 1, 16, 16)
    expected = ScalePyramidLoss(CHOSEN, normalised=form == "normalised")(estimate, target)
    torch.testing.assert_close(pyramid(estimate, target), expected)
    assert AMSNetSpace(width=16, pyramid=form).pyramid.normalised == (form == "normalised")


def test_an_unknown_form_lists_the_known():
    with pytest.raises(SettingError, match=r"space.pyramid: 'fair' is unknown; choose published or normalised"):
        AMSNetSpace(width=16, pyramid="fair")
