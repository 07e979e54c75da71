"""The mean square error, which every network can be trained by."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SquareError(nn.Module):
    """mean((E − G)²)."""

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(estimate, target)
