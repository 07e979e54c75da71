"""Geometry-adaptive kernels: the nearer a head's neighbours, the smaller it is taken to be."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nni_count.data.density import Array, checked_points
from nni_count.errors import SettingError


def adaptive_sigma(
    points: Array,
    *,
    beta: float = 0.3,
    neighbours: int = 3,
    limits: tuple[float, float] = (1.0, 50.0),
    alone: float = 15.0,
) -> Array:
    """The σ of every head: ``beta`` × the mean distance to its nearest neighbours (Zhang et al., MCNN, CVPR 2016).

    Where there are fewer neighbours than asked for, the mean is over those that there are; a head that is alone gets
    ``alone``. Annotations that coincide are neighbours at distance 0, so that σ may become 0, and two heads far apart
    in an empty square would become a haze: σ is kept within ``limits``.

    Args:
        points: ``(N, 2)``, x y in pixels; all those of an image, also for a crop of it.
        beta: of the formula.
        neighbours: how many, at least 1.
        limits: smallest and largest σ in pixels.
        alone: σ where there is only one point, in pixels.

    Returns:
        ``(N,)`` float64, for :func:`nni_count.data.density.density_map`; a tensor for a tensor.

    Raises:
        DataError: a point is no number, or has more or less than two.
        SettingError: a setting is out of its range.
    """
    if beta <= 0 or neighbours < 1 or alone <= 0 or not 0 < limits[0] <= limits[1]:
        raise SettingError(
            f"adaptive kernels: beta {beta}, neighbours {neighbours}, limits {tuple(limits)}, alone {alone} must be "
            "positive, the smaller limit first"
        )
    heads = checked_points("adaptive kernels", points).detach().cpu().numpy()  # a tree of them is no work for a GPU
    sigma = np.full(len(heads), float(alone))
    if len(heads) > 1:
        from scipy.spatial import cKDTree  # here, since the usual kernels need it not

        number = min(neighbours, len(heads) - 1)  # beyond those that there are, a tree answers infinity
        distances, _ = cKDTree(heads).query(heads, number + 1)  # the nearest is the point itself, or one like it
        sigma = np.clip(beta * distances[:, 1:].mean(1), *limits)
    return torch.from_numpy(sigma).to(points.device) if isinstance(points, Tensor) else sigma
