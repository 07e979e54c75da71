"""Losses between density maps, as pure functions: estimate and target ``(B, K, H, W)`` → a scalar."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from nni_count.errors import SettingError
from nni_count.ops import POOLINGS


def scale_pyramid_loss(estimate: Tensor, target: Tensor, poolings: Sequence[nn.Module]) -> Tensor:
    """Σ_l mean((φ_l(E) − φ_l(G))²), where φ_0 is the identity and each further level pools the one before.

    Both maps pass the same cascade (NAS-Count, section 3.2, eq. 3–4); the mean is over batch and pixels of a level.

    Args:
        estimate: ``(B, K, H, W)``.
        target: of the same shape.
        poolings: modules that halve a map, finest level first.

    Raises:
        SettingError: the map is too small to be halved that often.
    """
    check_pyramid(estimate.shape[-2:], len(poolings))
    loss = F.mse_loss(estimate, target)
    for pooling in poolings:
        estimate, target = pooling(estimate), pooling(target)
        loss = loss + F.mse_loss(estimate, target)
    return loss


def check_pyramid(size: Sequence[int], levels: int) -> None:
    """Refuse a pyramid deeper than the map: every level must leave at least one pixel."""
    if min(size) >> levels < 1:
        raise SettingError(
            f"loss: a map of {size[0]}×{size[1]} cannot be halved {levels} times; "
            "use larger crops or a smaller map_stride"
        )


class ScalePyramidLoss(nn.Module):
    """:func:`scale_pyramid_loss` with poolings by name; none at all is plain mean square error."""

    def __init__(self, poolings: Sequence[str] = ()):
        super().__init__()
        self.poolings = nn.ModuleList(POOLINGS[name]() for name in poolings)

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        return scale_pyramid_loss(estimate, target, list(self.poolings))
