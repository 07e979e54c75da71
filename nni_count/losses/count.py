"""The square error of a map's mean, which goes with a loss of its values."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class CountLoss(nn.Module):
    """:func:`count_loss`."""

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        return count_loss(estimate, target)


def count_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """((ΣE − ΣG) / N)² of each map, then the mean; N its pixels: the last level that a pyramid of averages could have.

    Args:
        estimate: ``(B, K, H, W)``.
        target: of the same shape.
    """
    return F.mse_loss(estimate.mean((2, 3)), target.mean((2, 3)))
