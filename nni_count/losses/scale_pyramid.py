"""SPPL, the scale pyramid pooling loss of NAS-Count: square errors of a cascade of pooled maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nni_count.errors import SettingError
from nni_count.ops import POOLINGS

#: of a network without a searched one: errors of the mean density in cells of 2, 4 and 8 pixels a side
DEFAULT_PYRAMID = ("avg_2x2", "avg_2x2", "avg_2x2")


class ScalePyramidLoss(nn.Module):
    """:func:`scale_pyramid_loss` with poolings by name; none at all is plain mean square error."""

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
        return scale_pyramid_loss(estimate, target, list(self.poolings), self.normalised)


def scale_pyramid_loss(
    estimate: Tensor, target: Tensor, poolings: Sequence[nn.Module], normalised: bool = False
) -> Tensor:
    """Σ_l mean((φ_l(E) − φ_l(G))²), where φ_0 is the identity and each further level pools the one before.

    Both maps pass the same cascade (NAS-Count, section 3.2, eq. 3–4); the mean is over batch and pixels of a level.

    A search that minimises this sum drifts to the poolings whose values are smallest, whatever they tell apart.
    Normalised, each level is divided by mean(φ_l(G)²): an empty estimate costs 1 a level, and a map that is wrong by a
    factor costs the same, by any pooling. This form is ours.

    Args:
        estimate: ``(B, K, H, W)``.
        target: of the same shape.
        poolings: modules that halve a map, finest level first.
        normalised: whether each level's error is relative to the truth's own values.

    Raises:
        SettingError: the map is too small to be halved that often.
    """
    height, width = estimate.shape[-2:]
    if min(height, width) >> len(poolings) < 1:  # every level must leave at least one pixel
        raise SettingError(
            f"loss: a map of {height}×{width} cannot be halved {len(poolings)} times; "
            "use larger crops or a smaller map_stride"
        )
    error = relative_square_error if normalised else F.mse_loss
    loss = error(estimate, target)
    for pooling in poolings:
        estimate, target = pooling(estimate), pooling(target)
        loss = loss + error(estimate, target)
    return loss


def relative_square_error(estimate: Tensor, target: Tensor, least: float = 1e-6) -> Tensor:
    """mean((E − G)²) / mean(G²) over a batch of any shape; plain mean((E − G)²) where mean(G²) is below ``least``."""
    size = target.square().mean()
    return F.mse_loss(estimate, target) / torch.where(size > least, size, torch.ones_like(size))
