"""The losses as modules: the functions of :mod:`nni_count.losses.functional` with their settings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from nni_count.errors import SettingError
from nni_count.losses import functional
from nni_count.ops import POOLINGS

#: of a network without a searched one: errors of the mean density in cells of 2, 4 and 8 pixels a side
DEFAULT_PYRAMID = ("avg_2x2", "avg_2x2", "avg_2x2")


class SquareError(nn.Module):
    """mean((E − G)²)."""

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(estimate, target)


class ScalePyramidLoss(nn.Module):
    """:func:`~nni_count.losses.functional.scale_pyramid_loss` with poolings by name; none at all is plain mean square
    error.
    """

    def __init__(self, poolings: Sequence[str] = DEFAULT_PYRAMID, normalised: bool = False):
        super().__init__()
        if isinstance(poolings, str) or not isinstance(poolings, Sequence):
            raise SettingError(f"loss sppl: poolings {poolings!r}; give a list such as [avg_2x2, max_4x4]")
        for name in poolings:
            if name not in POOLINGS:
                raise SettingError(f"loss sppl: pooling {name!r} is unknown; known: {', '.join(POOLINGS)}")
        self.poolings = nn.ModuleList(POOLINGS[name]() for name in poolings)
        self.normalised = normalised

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        return functional.scale_pyramid_loss(estimate, target, list(self.poolings), self.normalised)


class SpatialAbstractionLoss(nn.Module):
    """:func:`~nni_count.losses.functional.spatial_abstraction_loss` with its settings."""

    def __init__(self, levels: int = 3, unpooled: bool = True):
        super().__init__()
        if type(levels) is not int or levels < 0:
            raise SettingError(f"loss sal: levels {levels!r}; give a whole number from 0")
        if levels == 0 and not unpooled:
            raise SettingError("loss sal: 0 levels and no unpooled one compare nothing; give levels")
        self.levels = levels
        self.unpooled = unpooled

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        return functional.spatial_abstraction_loss(estimate, target, self.levels, self.unpooled)


class SpatialCorrelationLoss(nn.Module):
    """:func:`~nni_count.losses.functional.spatial_correlation_loss` with its setting."""

    def __init__(self, epsilon: float = 1e-4):
        super().__init__()
        if isinstance(epsilon, bool) or not isinstance(epsilon, (int, float)) or not 0 < epsilon < 1:
            raise SettingError(f"loss scl: epsilon {epsilon!r}; give a number between 0 and 1")
        self.epsilon = epsilon

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        return functional.spatial_correlation_loss(estimate, target, self.epsilon)


class EuclideanSSIMLoss(nn.Module):
    """:func:`~nni_count.losses.functional.euclidean_ssim_loss` with its setting, α_C in the paper."""

    def __init__(self, ssim: float = 0.001):
        super().__init__()
        if isinstance(ssim, bool) or not isinstance(ssim, (int, float)) or not 0 <= ssim < math.inf:
            raise SettingError(f"loss euclidean_ssim: ssim {ssim!r}; give a number from 0")
        self.ssim = ssim

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        return functional.euclidean_ssim_loss(estimate, target, self.ssim)


class CountLoss(nn.Module):
    """:func:`~nni_count.losses.functional.count_loss`."""

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        return functional.count_loss(estimate, target)
