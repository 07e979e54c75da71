"""SAL, the spatial abstraction loss of TEDNet: square errors of a cascade of max-pooled maps."""

from __future__ import annotations

from torch import Tensor, nn

from nni_count.errors import SettingError
from nni_count.losses.scale_pyramid import scale_pyramid_loss


class SpatialAbstractionLoss(nn.Module):
    """:func:`spatial_abstraction_loss` with its setting."""

    def __init__(self, levels: int = 3):
        super().__init__()
        if type(levels) is not int or levels < 0:
            raise SettingError(f"loss sal: levels {levels!r}; give a whole number from 0")
        self.levels = levels

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        return spatial_abstraction_loss(estimate, target, self.levels)


def spatial_abstraction_loss(estimate: Tensor, target: Tensor, levels: int = 3) -> Tensor:
    """SAL, Σ_k mean((φ_k(E) − φ_k(G))²), where φ_k is k 2×2 max-pools one after the other, k from 0 (TEDNet).

    Args:
        estimate: ``(B, K, H, W)``.
        target: of the same shape.
        levels: the number of pools.

    Raises:
        SettingError: the map is too small to be halved that often.
    """
    return scale_pyramid_loss(estimate, target, [nn.MaxPool2d(2)] * levels)
