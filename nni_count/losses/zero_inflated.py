"""The loss of zero-inflated block counts (Ma et al., EBC-ZIP: Improving Blockwise Crowd Counting with Zero-Inflated
Poisson Regression, 2025). It needs a head of its own: :class:`nni_count.tasks.counting.Counting` with ``bins``.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nni_count.errors import SettingError
from nni_count.losses.blocks import Blocks
from nni_count.losses.scene import Scene
from nni_count.runs.ranges import Range, check


class ZeroInflatedLoss(nn.Module):
    """:func:`zero_inflated_loss` with its settings."""

    needs_points = True

    def __init__(self, bins: Annotated[float, Range(0)] = 1.0, count: Annotated[float, Range(0)] = 1.0):
        super().__init__()
        check(ZeroInflatedLoss.__init__, {"bins": bins, "count": count}, "loss.zip.")
        self.bins, self.count = bins, count

    def forward(self, scene: Scene) -> Tensor:
        if scene.blocks is None:
            raise SettingError(
                "loss zip: the network has no head for bins; give --task.bins '[1, 2, 3, 4, 6, 8, 12, 16, 24, 32]' "
                "(of nni_count.Counting), which must reach the largest count of a block"
            )
        return zero_inflated_loss(
            scene.blocks, scene.coarser(scene.blocks.cells * scene.stride).dots, self.bins, self.count
        )


def zero_inflated_loss(blocks: Blocks, counts: Tensor, bins: float = 1.0, count: float = 1.0) -> Tensor:
    """Σ −log p(y) + bins · Σ_{y>0} CE + count · \\|Σ (1 − π) λ − Σ y\\| of each map, then the mean.

    p(0) = π + (1 − π) e^−λ and p(y) = (1 − π) e^−λ λ^y / y!: a block is structurally empty with probability π, else its
    count is Poisson's, of the rate λ, the mean of the bins. CE is the cross-entropy of the bin whose value is nearest.

    Args:
        blocks: π and λ.
        counts: y, the points in each block, ``(M, h, w)``.
        bins, count: weights of the second and the third term.
    """
    rate, full = blocks.rate, F.logsigmoid(-blocks.empty)
    none = -torch.logaddexp(F.logsigmoid(blocks.empty), full - rate)
    some = rate - full - counts * rate.log() + torch.lgamma(counts + 1)
    middles = (blocks.values[1:] + blocks.values[:-1]) / 2
    wrong_bin = F.cross_entropy(blocks.bins, torch.bucketize(counts, middles), reduction="none")
    each = torch.where(counts > 0, some + bins * wrong_bin, none)
    off = (blocks.expected.sum((1, 2)) - counts.sum((1, 2))).abs()
    return (each.sum((1, 2)) + count * off).mean()
