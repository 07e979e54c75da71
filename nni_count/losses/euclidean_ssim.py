"""The loss of SANet: mean square error and structural similarity."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nni_count.errors import SettingError


class EuclideanSSIMLoss(nn.Module):
    """:func:`euclidean_ssim_loss` with its setting, α_C in the paper."""

    def __init__(self, ssim: float = 0.001):
        super().__init__()
        if isinstance(ssim, bool) or not isinstance(ssim, (int, float)) or not 0 <= ssim < math.inf:
            raise SettingError(f"loss euclidean_ssim: ssim {ssim!r}; give a number from 0")
        self.ssim = ssim

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        return euclidean_ssim_loss(estimate, target, self.ssim)


def euclidean_ssim_loss(estimate: Tensor, target: Tensor, weight: float = 0.001) -> Tensor:
    """mean((E − G)²) + weight · (1 − mean SSIM) (SANet).

    Args:
        estimate: ``(B, K, H, W)``.
        target: of the same shape.
        weight: of the second term, α_C in the paper.
    """
    return F.mse_loss(estimate, target) + weight * (1 - mean_ssim(estimate, target))


def mean_ssim(estimate: Tensor, target: Tensor) -> Tensor:
    """The mean structural similarity of two maps in an 11×11 Gaussian window, σ = 1.5, C1 = 0.01², C2 = 0.03² (SANet).

    At the border the window is cut off and weighted anew, so maps of any size have one.

    The constants are for values about 1. On raw densities even an empty map would be similar; scale them first, as
    :class:`nni_count.tasks.counting.Counting` does.
    """
    steps = torch.arange(-5, 6, dtype=estimate.dtype, device=estimate.device)
    line = torch.exp(-(steps**2) / (2 * 1.5**2))
    window = (line[:, None] * line)[None, None]
    ones = estimate.new_ones(1, 1, *estimate.shape[-2:])
    weight = F.conv2d(ones, window, padding=5)

    def mean(values: Tensor) -> Tensor:
        return F.conv2d(values.flatten(0, 1)[:, None], window, padding=5) / weight

    mean_e, mean_t = mean(estimate), mean(target)
    var_e, var_t = mean(estimate**2) - mean_e**2, mean(target**2) - mean_t**2
    covariance = mean(estimate * target) - mean_e * mean_t
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_e * mean_t + c1) * (2 * covariance + c2)
    return (similarity / ((mean_e**2 + mean_t**2 + c1) * (var_e + var_t + c2))).mean()
