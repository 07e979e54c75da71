"""The Poisson loss of block counts: how improbable the counts of points are where the estimates are their rates."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from nni_count.losses.scene import Scene
from nni_count.runs.ranges import Range, check

#: points a block; below it the loss of a block with points goes on along its tangent, as a density may be negative
LEAST = 0.5


class PoissonLoss(nn.Module):
    """:func:`poisson_loss` of blocks of ``block`` pixels a side, or of single cells where they are larger."""

    needs_points = True

    def __init__(self, block: Annotated[int, Range(1)] = 16):
        super().__init__()
        check(PoissonLoss.__init__, {"block": block}, "loss.poisson.")
        self.block = block

    def forward(self, scene: Scene) -> Tensor:
        blocks = scene.coarser(self.block)
        return poisson_loss(blocks.density, blocks.dots)


def poisson_loss(estimate: Tensor, counts: Tensor) -> Tensor:
    """Σ (λ − y log λ) − (y − y log y) over the blocks of each map, then the mean: half the deviance of a Poisson
    regression (McCullagh and Nelder, Generalized Linear Models, 1989, section 2.3); 0 where λ = y in every block.

    An estimate may be negative: below ½ the logarithm goes on along its tangent, and an empty block costs \\|λ\\|.

    Args:
        estimate: λ, ``(M, h, w)``.
        counts: y, whole numbers, of the same shape.
    """
    within = estimate.clamp_min(LEAST)
    log = torch.where(estimate < LEAST, estimate / LEAST - 1 + math.log(LEAST), within.log())
    full = estimate - counts - counts * log + torch.xlogy(counts, counts)
    return torch.where(counts > 0, full, estimate.abs()).sum((1, 2)).mean()
