"""Losses between density maps: pure functions, thin classes, and weighted sums of them by configuration."""

from nni_count.losses.functional import (
    check_pyramid,
    count_loss,
    euclidean_ssim_loss,
    mean_ssim,
    scale_pyramid_loss,
    spatial_abstraction_loss,
    spatial_correlation_loss,
)
from nni_count.losses.modules import (
    DEFAULT_PYRAMID,
    CountLoss,
    EuclideanSSIMLoss,
    ScalePyramidLoss,
    SpatialAbstractionLoss,
    SpatialCorrelationLoss,
    SquareError,
)
from nni_count.losses.weighted import LOSSES, LossSetting, WeightedSum, create_loss

__all__ = [
    "DEFAULT_PYRAMID",
    "LOSSES",
    "CountLoss",
    "EuclideanSSIMLoss",
    "LossSetting",
    "ScalePyramidLoss",
    "SpatialAbstractionLoss",
    "SpatialCorrelationLoss",
    "SquareError",
    "WeightedSum",
    "check_pyramid",
    "count_loss",
    "create_loss",
    "euclidean_ssim_loss",
    "mean_ssim",
    "scale_pyramid_loss",
    "spatial_abstraction_loss",
    "spatial_correlation_loss",
]
