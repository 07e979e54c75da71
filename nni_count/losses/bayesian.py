"""The Bayesian loss: each true point expects one of what is estimated around it (Ma et al., Bayesian Loss for Crowd
Count Estimation with Point Supervision, ICCV 2019).
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from nni_count.losses.scene import Scene
from nni_count.runs.ranges import Range, check


class BayesianLoss(nn.Module):
    """:func:`bayesian_loss` with its settings, of cells of at most ``cell`` pixels: smaller ones are summed, since they
    tell nothing beside σ.
    """

    needs_points = True

    def __init__(
        self,
        sigma: Annotated[float, Range(0, above=True)] = 8.0,
        background: Annotated[float, Range(0, above=True)] = 0.15,
        cell: Annotated[int, Range(1)] = 4,
    ):
        super().__init__()
        check(BayesianLoss.__init__, {"sigma": sigma, "background": background, "cell": cell}, "loss.bayesian.")
        self.sigma, self.background, self.cell = sigma, background, cell

    def forward(self, scene: Scene) -> Tensor:
        return bayesian_loss(scene.coarser(self.cell), self.sigma, self.background)


def bayesian_loss(scene: Scene, sigma: float = 8.0, background: float = 0.15) -> Tensor:
    """Σ_n |1 − E[c_n]| + |E[c_0]| of each map, then the mean (eq. 11 and 14–18).

    E[c_n] = Σ_m p(n|m) D(m) is what of the estimate D belongs to point n: p(n|m) ∝ exp(−|x_m − z_n|² / 2σ²), x_m the
    middle of cell m. Its rival is the background, n = 0, as near as a point would be that lies at d from the cell's
    nearest point, towards the cell: p(0|m) ∝ exp(−(d − |x_m − z_nearest|)² / 2σ²). Where there is no point, all is
    background.

    Args:
        scene: the estimate and the points.
        sigma: of the likelihood, in pixels.
        background: d as a share of the map's shorter side.
    """
    rows, columns = scene.density.shape[1:]
    y, x = (scene.stride * (torch.arange(n).to(scene.density) + 0.5) for n in (rows, columns))
    far = background * scene.stride * min(rows, columns)
    owner = scene.points[:, 0].long()
    losses = []
    for index, density in enumerate(scene.density.flatten(1)):
        heads = scene.points[owner == index, 1:].to(density)
        if not len(heads):
            losses.append(density.sum().abs())
            continue
        squares = ((heads[:, 1, None, None] - y[:, None]) ** 2 + (heads[:, 0, None, None] - x) ** 2).flatten(1)
        dummy = (far - squares.amin(0).sqrt()) ** 2
        posterior = torch.softmax(torch.cat([dummy[None], squares]) / (-2 * sigma**2), 0)
        expected = posterior @ density
        losses.append(expected[0].abs() + (1 - expected[1:]).abs().sum())
    return torch.stack(losses).mean()
