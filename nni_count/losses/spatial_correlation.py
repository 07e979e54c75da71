"""SCL, the spatial correlation loss of TEDNet: how alike two maps are, whatever their scale."""

from __future__ import annotations

from torch import Tensor, nn

from nni_count.errors import SettingError


class SpatialCorrelationLoss(nn.Module):
    """:func:`spatial_correlation_loss` with its setting."""

    def __init__(self, epsilon: float = 1e-4):
        super().__init__()
        if isinstance(epsilon, bool) or not isinstance(epsilon, (int, float)) or not 0 < epsilon < 1:
            raise SettingError(f"loss scl: epsilon {epsilon!r}; give a number between 0 and 1")
        self.epsilon = epsilon

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        return spatial_correlation_loss(estimate, target, self.epsilon)


def spatial_correlation_loss(estimate: Tensor, target: Tensor, epsilon: float = 1e-4) -> Tensor:
    """SCL, 1 − ΣEG / √(ΣE² · ΣG²) of each sample, then the mean (TEDNet); from 0 to 2.

    Each of the three sums has ε added. So a map without people is defined: 0 for an empty estimate, towards 1 for any
    other, and perfection costs nothing whatever the map. Maps that differ by a factor cost next to nothing: it goes
    with a loss of the values.

    Args:
        estimate: ``(B, K, H, W)``.
        target: of the same shape.
        epsilon: small beside the ΣG² of a map with people.
    """
    joint, own, true = (
        (one * other).flatten(1).sum(1) + epsilon
        for one, other in ((estimate, target), (estimate, estimate), (target, target))
    )
    return (1 - joint / (own.sqrt() * true.sqrt())).mean()
