"""How good counts are: over all images, by density, by region, and how sure one may be."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from scipy.stats import bootstrap
from torchmetrics.functional.regression import (
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
)

#: levels of GAME: an image is cut into 4^L parts
GAME_LEVELS = (0, 1, 2, 3)
#: the largest count of each density bin (those of NWPU-Crowd); the last has none
BINS = (0, 100, 500, 5000)
RESAMPLES, CONFIDENCE = 2000, 0.95


def count_errors(estimates: np.ndarray, truths: np.ndarray) -> dict[str, float | None]:
    """MAE, RMSE (the literature's "MSE") and NAE of counts, both ``(N,)``, against the number of points.

    NAE, the mean of |error| / truth, leaves out images without people; None where there are no others.

    Raises:
        ValueError: no images, or numbers that do not match.
    """
    estimate, truth = _checked(estimates, truths)
    some = truth > 0
    return {
        "mae": float(mean_absolute_error(estimate, truth)),
        "rmse": float(mean_squared_error(estimate, truth, squared=False)),
        "nae": float(mean_absolute_percentage_error(estimate[some], truth[some])) if some.any() else None,
    }


def mae_by_density(estimates: np.ndarray, truths: np.ndarray) -> dict[str, dict[str, float]]:
    """MAE and number of images of each bin of true counts that has any, e.g. ``101–500``; bounds are :data:`BINS`."""
    estimate, truth = _checked(estimates, truths)
    errors = (estimate - truth).abs().numpy()
    names = [str(BINS[0]), *(f"{low + 1}–{high}" for low, high in pairwise(BINS)), f">{BINS[-1]}"]
    chosen = {name: np.searchsorted(BINS, truths) == place for place, name in enumerate(names)}
    return {
        name: {"mae": float(errors[its].mean()), "images": int(its.sum())} for name, its in chosen.items() if its.any()
    }


def game(density: np.ndarray, points: np.ndarray, levels: tuple[int, ...] = GAME_LEVELS) -> dict[str, float]:
    """Grid average errors of one image, ``game0`` … : Σ |error| over the 4^L equal parts into which it is cut.

    Guerrero-Gómez-Olmedo et al., Extremely Overlapping Vehicle Counting, 2015; against the points in each part, so
    GAME(0) is the count's absolute error.

    Args:
        density: ``(H, W)`` at the image's size.
        points: ``(N, 2)``, x y in pixels; those outside count for the nearest part.
        levels: each L.
    """
    height, width = density.shape
    # what lies above and to the left of every corner of a pixel; parts without a pixel are no special case
    total = np.pad(density.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    found = {}
    for level in levels:
        rows, columns = (np.linspace(0, side, 2**level + 1).round().astype(int) for side in (height, width))
        estimate = np.diff(np.diff(total[np.ix_(rows, columns)], axis=0), axis=1)
        truth = np.zeros_like(estimate)
        if len(points):
            place = [
                np.clip(np.searchsorted(edges, points[:, axis], side="right") - 1, 0, 2**level - 1)
                for axis, edges in ((1, rows), (0, columns))
            ]
            np.add.at(truth, tuple(place), 1)
        found[f"game{level}"] = float(np.abs(estimate - truth).sum())
    return found


def intervals(estimates: np.ndarray, truths: np.ndarray, seed: int = 0) -> dict[str, list[float] | None]:
    """95% bootstrap intervals (percentiles of 2000 resamplings of the images) of MAE and RMSE.

    None where a single image leaves nothing to resample. They say how much the figure depends on which images were in
    the part, not how much on the training's seed.
    """
    estimate, truth = _checked(estimates, truths)
    errors = (estimate - truth).abs().numpy()
    found: dict[str, list[float] | None] = {}
    for name, figure in (
        ("mae", lambda e, axis: e.mean(axis)),
        ("rmse", lambda e, axis: np.sqrt(np.square(e).mean(axis))),
    ):
        found[f"{name}_interval"] = None
        if len(errors) > 1:
            drawn = bootstrap(
                (errors,),
                figure,
                n_resamples=RESAMPLES,
                confidence_level=CONFIDENCE,
                method="percentile",
                vectorized=True,
                random_state=np.random.default_rng(seed),
            ).confidence_interval
            found[f"{name}_interval"] = [float(drawn.low), float(drawn.high)]
    return found


def _checked(estimates: np.ndarray, truths: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    if len(estimates) == 0 or len(estimates) != len(truths):
        raise ValueError(
            f"expected as many estimates as truths and at least one, found {len(estimates)} and {len(truths)}"
        )
    return torch.as_tensor(estimates, dtype=torch.float64), torch.as_tensor(truths, dtype=torch.float64)
