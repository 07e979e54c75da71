"""Density maps from points: every head one Gaussian whose whole mass lies inside the map."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from nni_count.errors import DataError, SettingError


def density_map(
    points: np.ndarray,
    shape: tuple[int, int],
    *,
    sigma: float = 4.0,
    kernel_size: int = 15,
    stride: int = 1,
) -> np.ndarray:
    """The density of points, in people per cell; it sums to the number of points inside the map.

    Every point is a Gaussian of ``sigma`` pixels, cut off ``kernel_size / 2`` pixels to each side and at the map's
    border, then scaled to a mass of one: no mass is lost at borders and no head is moved. The Gaussian is integrated
    over each cell, so that a map of ``stride`` 4 equals the 4×4 block sums of the full map. Coincident points add up.
    The default is the 15×15 kernel with σ=4 of the code that NAS-Count refers to.

    Args:
        points: ``(N, 2)``, x y in pixels; pixel ``i`` covers ``[i, i + 1)``. Points outside are left out.
        shape: height and width of the image in pixels.
        sigma: standard deviation in pixels.
        kernel_size: width of the cut-off kernel in pixels.
        stride: side of a cell in pixels; the last row and column may be covered only partly by the image.

    Returns:
        ``(ceil(H / stride), ceil(W / stride))`` float32.
    """
    height, width = shape
    if sigma <= 0 or kernel_size <= 0 or stride < 1:
        raise SettingError(f"density map: sigma {sigma}, kernel_size {kernel_size}, stride {stride} must be positive")
    points = np.asarray(points, np.float64).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise DataError("density map: a point is NaN or infinite; mend the annotation")
    rows, columns = -(-height // stride), -(-width // stride)
    points = points[((points >= 0) & (points < (width, height))).all(1)]
    result: np.ndarray = np.zeros(rows * columns, np.float64)
    if len(points):
        first_x, weights_x = _masses(points[:, 0], width, sigma, kernel_size / 2, stride)
        first_y, weights_y = _masses(points[:, 1], height, sigma, kernel_size / 2, stride)
        size = weights_x.shape[1]
        x = np.minimum(first_x[:, None] + np.arange(size), columns - 1)  # beyond the border the weight is 0
        y = np.minimum(first_y[:, None] + np.arange(size), rows - 1)
        index = (y[:, :, None] * columns + x[:, None, :]).ravel()
        weight = (weights_y[:, :, None] * weights_x[:, None, :]).ravel()
        result = np.bincount(index, weight, rows * columns)
    return result.reshape(rows, columns).astype(np.float32)


def _masses(centre: np.ndarray, length: int, sigma: float, radius: float, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Along one axis: each point's first cell, and its mass in that cell and those after it, ``(N, cells)``."""
    low, high = np.maximum(centre - radius, 0), np.minimum(centre + radius, length)
    first = np.floor(low / stride).astype(np.int64)
    cells = int(np.ceil(2 * radius / stride)) + 1
    borders = (first[:, None] + np.arange(cells + 1)) * stride
    borders = np.clip(borders, low[:, None], high[:, None])
    cumulated = ndtr((borders - centre[:, None]) / sigma)
    mass = np.diff(cumulated, axis=1)
    return first, mass / mass.sum(1, keepdims=True)
