"""How good counts are: over all images, by density, by region, and how sure one may be."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

#: levels of GAME: an image is cut into 4^L parts
GAME_LEVELS = (0, 1, 2, 3)
#: the largest count of each density bin (those of NWPU-Crowd); the last has none
BINS = (0, 100, 500, 5000)
RESAMPLES, CONFIDENCE = 2000, 0.95


def mae(estimates: np.ndarray, truths: np.ndarray) -> float:
    """Mean absolute error of counts, both ``(N,)``."""
    return float(np.abs(_errors(estimates, truths)).mean())


def rmse(estimates: np.ndarray, truths: np.ndarray) -> float:
    """Root of the mean squared error of counts, both ``(N,)``: the literature's "MSE"."""
    return float(np.sqrt(np.square(_errors(estimates, truths)).mean()))


def nae(estimates: np.ndarray, truths: np.ndarray) -> float | None:
    """Mean of |error| / truth of counts, both ``(N,)``, over the images with people; None where there are none."""
    shares = np.abs(_errors(estimates, truths))[truths > 0] / truths[truths > 0]
    return float(shares.mean()) if len(shares) else None


def mae_by_density(estimates: np.ndarray, truths: np.ndarray) -> dict[str, dict[str, float]]:
    """MAE and number of images of each bin of true counts that has any, e.g. ``101–500``; bounds are :data:`BINS`."""
    errors = np.abs(_errors(estimates, truths))
    names = [str(BINS[0]), *(f"{low + 1}–{high}" for low, high in pairwise(BINS)), f">{BINS[-1]}"]
    places = np.searchsorted(BINS, truths, side="left")
    found = {}
    for place, name in enumerate(names):
        chosen = places == place
        if chosen.any():
            found[name] = {"mae": float(errors[chosen].mean()), "images": int(chosen.sum())}
    return found


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
    from scipy.stats import bootstrap  # here, since it takes half a second, and a validation needs no intervals

    errors = np.abs(_errors(estimates, truths))
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


def _errors(estimates: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Of each image; a ValueError where there are no images, or numbers that do not match."""
    if len(estimates) == 0 or len(estimates) != len(truths):
        raise ValueError(
            f"expected as many estimates as truths and at least one, found {len(estimates)} and {len(truths)}"
        )
    errors: np.ndarray = np.subtract(estimates, truths, dtype=np.float64)
    return errors
