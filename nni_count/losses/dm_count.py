"""The loss of DM-Count: count, transport and total variation (Wang et al., Distribution Matching for Crowd Counting,
NeurIPS 2020).
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from nni_count.losses.scene import Scene
from nni_count.runs.ranges import Range, check

#: by how much the regularisation falls from one iteration to the next
FALL = 2


class DMCountLoss(nn.Module):
    """:func:`dm_count_loss` with its settings, of cells of at most ``cell`` pixels: smaller ones are summed."""

    needs_points = True

    def __init__(
        self,
        transport: Annotated[float, Range(0)] = 0.1,
        variation: Annotated[float, Range(0)] = 0.01,
        regularisation: Annotated[float, Range(0, above=True)] = 10.0,
        iterations: Annotated[int, Range(1)] = 5,
        cell: Annotated[int, Range(1)] = 8,
    ):
        super().__init__()
        settings = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        check(DMCountLoss.__init__, settings, "loss.dm_count.")
        self.weights, self.cell = (transport, variation), cell
        self.sinkhorn = (regularisation, iterations)

    def forward(self, scene: Scene) -> Tensor:
        cells = scene.coarser(self.cell)
        return dm_count_loss(cells.density, cells.dots, cells.stride, *self.weights, *self.sinkhorn)


def dm_count_loss(
    estimate: Tensor,
    dots: Tensor,
    stride: int,
    transport: float = 0.1,
    variation: float = 0.01,
    regularisation: float = 10.0,
    iterations: int = 5,
) -> Tensor:
    """\\|N̂ − N\\| + transport · OT(ẑ / N̂, z / N) + variation · N · TV(ẑ / N̂, z / N) of each map, then the mean (eq. 9).

    ẑ is the estimate, z the dots, N̂ and N their sums; TV is half the sum of absolute differences, OT
    :func:`transport_cost`. An estimate may be negative: what is transported, and the N̂ by which it is divided, are of
    its positive cells. Where nobody is, or nobody is found, there is nothing to transport.

    Args:
        estimate: ẑ, ``(M, h, w)``.
        dots: z, points a cell, of the same shape.
        stride: pixels a side of a cell.
        transport, variation: weights of the terms, λ1 and λ2 in the paper.
        regularisation, iterations: of the transport.
    """
    found, true = estimate.clamp_min(0).sum((1, 2)), dots.sum((1, 2))
    loss = (estimate.sum((1, 2)) - true).abs()
    one, other = estimate / found.clamp_min(1e-6)[:, None, None], dots / true.clamp_min(1)[:, None, None]
    loss = loss + variation * true * (one - other).abs().sum((1, 2)) / 2
    both = (found > 1e-6) & (true > 0)
    if transport and both.any():
        cost = transport_cost(one[both].clamp_min(0), other[both], stride, regularisation, iterations)
        loss = loss.index_add(0, both.nonzero()[:, 0], transport * cost)
    return loss.mean()


def transport_cost(
    one: Tensor, other: Tensor, stride: int, regularisation: float = 10.0, iterations: int = 5
) -> Tensor:
    """What it costs to make one distribution into another, where moving a mass costs its distance in pixels, squared:
    ``(M,)``, from 0 where they are the same.

    The entropic transport of the paper, less half of what it says of each distribution and itself: regularised alone,
    equal ones would cost something, and the least would be elsewhere (Feydy et al., Interpolating between Optimal
    Transport and MMD using Sinkhorn Divergences, AISTATS 2019, eq. 3). Its potentials are found by Sinkhorn's
    iterations in logarithms, along rows and then along columns, with a regularisation that halves from the map's size
    to what is asked for, so that a few suffice; as in the paper, no gradient goes through them.

    Args:
        one: ``(M, h, w)``, each sums to 1.
        other: of the same shape.
        stride: pixels a side of a cell.
        regularisation: ε, in pixels squared.
        iterations: with that ε, after those with larger ones.
    """
    with torch.no_grad():
        logs = torch.stack([one, other]).log()  # of an empty cell −∞
        squares = [(stride * (torch.arange(n)[:, None] - torch.arange(n))).to(one) ** 2 for n in one.shape[1:]]
        across, own = torch.zeros_like(logs), torch.zeros_like(logs)
        epsilon = max(regularisation, float(squares[0].max() + squares[1].max()))
        left = iterations
        while left:
            across = (across + _potential(across.flip(0) / epsilon + logs.flip(0), squares, epsilon)) / 2
            own = (own + _potential(own / epsilon + logs, squares, epsilon)) / 2
            left -= epsilon == regularisation
            epsilon = max(regularisation, epsilon / FALL)
        across = _potential(across.flip(0) / epsilon + logs.flip(0), squares, epsilon)
        own = _potential(own / epsilon + logs, squares, epsilon)
    return ((across - own) * torch.stack([one, other])).sum((0, 2, 3))


def _potential(logs: Tensor, squares: list[Tensor], epsilon: float) -> Tensor:
    """−ε log Σ_j exp(logs_j − |x_i − x_j|² / ε) of all cells i, ``(2, M, h, w)``: along rows, then along columns."""
    along = torch.logsumexp(logs[..., None, :] - squares[1] / epsilon, -1)  # (2, M, h, w)
    return -epsilon * torch.logsumexp(along[..., None, :, :] - squares[0][..., None] / epsilon, -2)
