"""What a model estimates of an image tile by tile."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from nni_count.data.tiles import tiles

if TYPE_CHECKING:
    from nni_count.data.images import Windows
    from nni_count.model.estimator import Estimator

SIDE = 768  # pixels of a tile where none is asked for
#: pixels around a tile of a network that sees images as a whole, for which no margin is enough
MARGIN = 256


def estimate_in_tiles(model: Estimator, image: np.ndarray | Windows, views: int, side: int) -> np.ndarray:
    """The maps of an image, ``(K, h, w)`` float32: those of the whole image where the tiles overlap as far as the
    network sees. Of one that sees images as a whole it is said by how much they differ.

    Args:
        model: that estimates.
        image: ``(H, W, 3)`` uint8 RGB.
        views: as for :meth:`Estimator.map`.
        side: of a tile in pixels, rounded up to what the network needs; its margin comes on top.
    """
    side = _rounded(model, side)
    if model.reach is None:
        _warn(model, image, views, side)
    return _joined(model, image, views, side)


def _joined(model: Estimator, image: np.ndarray | Windows, views: int, side: int) -> np.ndarray:
    height, width, _ = image.shape
    stride, margin = model.map_stride, _rounded(model, MARGIN) if model.reach is None else model.reach
    cells = np.zeros((0, 0, 0), np.float32)
    pieces = list(tiles(height, width, (side, side), margin, stride))
    for tile in tqdm(pieces, "in tiles", leave=False, disable=None if len(pieces) > 8 else True):
        found = model.estimate_whole(np.ascontiguousarray(image[tile.pixels]), views)[(slice(None), *tile.inner)]
        if not cells.size:
            cells = np.empty((len(found), -(-height // stride), -(-width // stride)), np.float32)
        cells[(slice(None), *tile.cells)] = found
    return cells


def _rounded(model: Estimator, pixels: int) -> int:
    return -(-pixels // model.multiple) * model.multiple


def _warn(model: Estimator, image: np.ndarray | Windows, views: int, side: int) -> None:
    """Tell how far two tiles in the middle of an image are off."""
    rows, columns = (
        slice(start := max(0, (whole - part) // 2), start + min(whole, part))
        for whole, part in zip(image.shape[:2], (side, 2 * side), strict=True)
    )
    middle = np.ascontiguousarray(image[rows, columns])
    whole = float(model.estimate_whole(middle, views).sum())
    off = abs(float(_joined(model, middle, views, side).sum()) - whole) / max(abs(whole), 1e-6)
    warnings.warn(
        f"{model.name} sees images as a whole: what it estimates in tiles of {side} pixels differs, "
        f"by {off:.1%} in the middle of this image",
        stacklevel=2,
    )
