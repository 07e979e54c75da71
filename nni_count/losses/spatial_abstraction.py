"""SAL, the spatial abstraction loss of TEDNet: square errors of a cascade of max-pooled maps."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from nni_count.errors import SettingError
from nni_count.losses.scale_pyramid import check_pyramid


class SpatialAbstractionLoss(nn.Module):
    """:func:`spatial_abstraction_loss` with its settings."""

    def __init__(self, levels: int = 3, unpooled: bool = True):
        super().__init__()
        if type(levels) is not int or levels < 0:
            raise SettingError(f"loss sal: levels {levels!r}; give a whole number from 0")
        if levels == 0 and not unpooled:
            raise SettingError("loss sal: 0 levels and no unpooled one compare nothing; give levels")
        self.levels = levels
        self.unpooled = unpooled

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        return spatial_abstraction_loss(estimate, target, self.levels, self.unpooled)


def spatial_abstraction_loss(estimate: Tensor, target: Tensor, levels: int = 3, unpooled: bool = True) -> Tensor:
    """SAL, Σ_k mean((φ_k(E) − φ_k(G))²), where φ_k is k 2×2 max-pools one after the other (TEDNet).

    Args:
        estimate: ``(B, K, H, W)``.
        target: of the same shape.
        levels: the number of pools.
        unpooled: whether the maps themselves, k = 0, count too; public codes differ.

    Raises:
        SettingError: the map is too small to be halved that often, or nothing would be compared.
    """
    if levels < 1 and not unpooled:
        raise SettingError(f"loss: SAL of {levels} levels compares nothing; give levels, or let the unpooled one count")
    check_pyramid(estimate.shape[-2:], levels)
    loss = F.mse_loss(estimate, target) if unpooled else estimate.new_zeros(())
    for _ in range(levels):
        estimate, target = F.max_pool2d(estimate, 2), F.max_pool2d(target, 2)
        loss = loss + F.mse_loss(estimate, target)
    return loss
