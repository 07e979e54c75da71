"""Losses between density maps, as pure functions: estimate and target ``(B, K, H, W)`` → a scalar."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nni_count.errors import SettingError


def scale_pyramid_loss(
    estimate: Tensor, target: Tensor, poolings: Sequence[nn.Module], normalised: bool = False
) -> Tensor:
    """Σ_l mean((φ_l(E) − φ_l(G))²), where φ_0 is the identity and each further level pools the one before.

    Both maps pass the same cascade (NAS-Count, section 3.2, eq. 3–4); the mean is over batch and pixels of a level.

    A search that minimises this sum drifts to the poolings whose values are smallest, whatever they tell apart.
    Normalised, each level is divided by mean(φ_l(G)²): an empty estimate costs 1 a level, and a map that is wrong by a
    factor costs the same, by any pooling. This form is ours.

    Args:
        estimate: ``(B, K, H, W)``.
        target: of the same shape.
        poolings: modules that halve a map, finest level first.
        normalised: whether each level's error is relative to the truth's own values.

    Raises:
        SettingError: the map is too small to be halved that often.
    """
    check_pyramid(estimate.shape[-2:], len(poolings))
    error = relative_square_error if normalised else F.mse_loss
    loss = error(estimate, target)
    for pooling in poolings:
        estimate, target = pooling(estimate), pooling(target)
        loss = loss + error(estimate, target)
    return loss


def relative_square_error(estimate: Tensor, target: Tensor, least: float = 1e-6) -> Tensor:
    """mean((E − G)²) / mean(G²) over a batch of any shape; plain mean((E − G)²) where mean(G²) is below ``least``."""
    size = target.square().mean()
    return F.mse_loss(estimate, target) / torch.where(size > least, size, torch.ones_like(size))


def check_pyramid(size: Sequence[int], levels: int) -> None:
    """Refuse a pyramid deeper than the map: every level must leave at least one pixel."""
    if min(size) >> levels < 1:
        raise SettingError(
            f"loss: a map of {size[0]}×{size[1]} cannot be halved {levels} times; "
            "use larger crops or a smaller map_stride"
        )


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


def mean_ssim(estimate: Tensor, target: Tensor) -> Tensor:
    """The mean structural similarity of two maps in an 11×11 Gaussian window, σ = 1.5, C1 = 0.01², C2 = 0.03² (SANet).

    At the border the window is cut off and weighted anew, so maps of any size have one.

    The constants are for values about 1. On raw densities even an empty map would be similar; scale them first, as
    :class:`nni_count.tasks.counting.Counting` does.
    """
    steps = torch.arange(-5, 6, dtype=estimate.dtype, device=estimate.device)
    line = torch.exp(-(steps**2) / (2 * 1.5**2))
    window = (line[:, None] * line)[None, None]
    ones = estimate.new_ones(1, 1, *estimate.shape[-2:])
    weight = F.conv2d(ones, window, padding=5)

    def mean(values: Tensor) -> Tensor:
        return F.conv2d(values.flatten(0, 1)[:, None], window, padding=5) / weight

    mean_e, mean_t = mean(estimate), mean(target)
    var_e, var_t = mean(estimate**2) - mean_e**2, mean(target**2) - mean_t**2
    covariance = mean(estimate * target) - mean_e * mean_t
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_e * mean_t + c1) * (2 * covariance + c2)
    return (similarity / ((mean_e**2 + mean_t**2 + c1) * (var_e + var_t + c2))).mean()


def euclidean_ssim_loss(estimate: Tensor, target: Tensor, weight: float = 0.001) -> Tensor:
    """mean((E − G)²) + weight · (1 − mean SSIM) (SANet).

    Args:
        estimate: ``(B, K, H, W)``.
        target: of the same shape.
        weight: of the second term, α_C in the paper.
    """
    return F.mse_loss(estimate, target) + weight * (1 - mean_ssim(estimate, target))


def count_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """((ΣE − ΣG) / N)² of each map, then the mean; N its pixels: the last level that a pyramid of averages could have.

    Args:
        estimate: ``(B, K, H, W)``.
        target: of the same shape.
    """
    return F.mse_loss(estimate.mean((2, 3)), target.mean((2, 3)))
