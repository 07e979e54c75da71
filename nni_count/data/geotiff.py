"""Where on the ground the pixels of a GeoTIFF lie, from its tags (OGC GeoTIFF 1.1)."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nni_count.data.exif import orientation_in, turned

if TYPE_CHECKING:
    from PIL.TiffImagePlugin import TiffImageFile

WIDTH, HEIGHT, SCALE, TIE_POINT, MATRIX, KEYS = 256, 257, 33550, 33922, 34264, 34735  # tags
MODEL, RASTER, GEOGRAPHIC, PROJECTED, UNIT = 1024, 1025, 2048, 3072, 3076  # keys among them
METRE, USER_DEFINED = 9001, 32767
GEOTIFF_SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True)
class Place:
    """How pixels become coordinates of a map.

    Args:
        matrix: ``(2, 3)``; of x and y in pixels, from the upper left corner of the first one, and 1.
        code: of the coordinates by EPSG, where the file tells.
        metres: how wide a pixel is, the square root of its area; None where coordinates are no metres.
    """

    matrix: np.ndarray
    code: int | None
    metres: float | None

    def to_map(self, points: np.ndarray) -> np.ndarray:
        """Points ``(N, 2)`` of the image as coordinates of the map, to a hundredth of a pixel."""
        digits = 2 - math.floor(math.log10(np.abs(self.matrix[:, :2]).max()))
        return np.asarray(np.round(points @ self.matrix[:, :2].T + self.matrix[:, 2], digits))

    @property
    def to_pixels(self) -> list[float]:
        """The way back, as shapely's ``affine_transform`` takes it."""
        inverse = np.linalg.inv(self.matrix[:, :2])
        return [*inverse.ravel().tolist(), *(-inverse @ self.matrix[:, 2]).tolist()]


def open_tiff(path: str | Path) -> TiffImageFile:
    """The header of a TIFF of any size, PIL's errors where it is none; nothing is decoded."""
    from PIL.TiffImagePlugin import TiffImageFile

    return TiffImageFile(str(path))  # Image.open refuses a large one


def _stored_of(orientation: int, width: int, height: int) -> np.ndarray:
    """``(3, 3)``: a place in what viewers show of an image of that size → where it is stored; x, y and 1."""
    shown = turned(np.array([[0, 0], [1, 0], [0, 1]], float), orientation, width, height)
    back = shown[1:] - shown[0]  # of a turn or a mirror, whose inverse is its transpose
    return np.vstack((np.c_[back, -back @ shown[0]], (0, 0, 1)))


def place_of(path: str | Path) -> Place | None:
    """Where an image lies; None where it is no GeoTIFF."""
    if Path(path).suffix.lower() not in GEOTIFF_SUFFIXES:
        return None
    try:
        with closing(open_tiff(path)) as image:
            tags = dict(image.tag_v2)
        keys = np.reshape(tags.get(KEYS, ()), (-1, 4))[1:]  # key, where its value is, how many, value
        known = {int(key): int(value) for key, where, _, value in keys if where == 0 and value != USER_DEFINED}
        if MATRIX in tags:
            matrix = np.reshape(tags[MATRIX], (4, 4))[np.ix_((0, 1), (0, 1, 3))].astype(float)
        else:
            (wide, high, *_), (column, row, _, x, y, *_) = tags[SCALE], tags[TIE_POINT]
            matrix = np.array([[wide, 0, x - column * wide], [0, -high, y + row * high]], float)
        if known.get(RASTER) == 2:  # points are the middles of pixels
            matrix[:, 2] -= matrix[:, :2].sum(1) / 2
        matrix = matrix @ _stored_of(orientation_in(tags), tags[WIDTH], tags[HEIGHT])
        area = abs(float(np.linalg.det(matrix[:, :2])))
        if not (np.isfinite(matrix).all() and area > 0):
            return None
        metric = known.get(MODEL) == 1 and known.get(UNIT, METRE) == METRE
        return Place(matrix, known.get(PROJECTED, known.get(GEOGRAPHIC)), math.sqrt(area) if metric else None)
    except (LookupError, ValueError, TypeError, OSError, SyntaxError):  # it is none, or the reader of images says so
        return None
