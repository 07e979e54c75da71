"""What is counted in the regions of an image, and on a square metre."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from shapely.affinity import scale

from nni_count.data.geotiff import GEOTIFF_SUFFIXES, place_of
from nni_count.data.images import smaller
from nni_count.data.rasters import size_of
from nni_count.data.regions import Shape, read_regions, rings, shares
from nni_count.errors import DataError
from nni_count.pictures.overlays import outline
from nni_count.tasks.task import Task

#: a region, and which cells of a map it covers, by what share
Covered = tuple[Shape, tuple[slice, slice], np.ndarray]


class Survey:
    """What is counted in each region, and on a square metre; shares of cells are kept for the next image of that size.

    Args:
        task: that counts.
        stride: pixels a side of a cell, of an image as the network sees it.
        max_side: to which images are scaled down for it.
        regions: their file, see :func:`nni_count.data.regions.read_regions`.
        metres: that a pixel of the images themselves is wide; None where only a GeoTIFF tells.
    """

    def __init__(self, task: Task, stride: int, max_side: int | None, regions: str | Path | None, metres: float | None):
        self.task, self.stride, self.max_side, self.metres = task, stride, max_side, metres
        self.read = read_regions(regions) if regions else None
        self._last: tuple[tuple[int, int, str], dict[str, Covered]] | None = None

    def check(self, paths: Iterable[Path], page: int | None) -> None:
        """Refuse with a :class:`DataError` images that the regions are not of, by their headers, before one is read."""
        for path in paths if self.read else ():
            try:
                width, height = size_of(path, page)
            except DataError:  # which is said when it is read
                continue
            self._within(path, (height, width))

    def whole(self, path: Path, shape: tuple[int, int], estimate: np.ndarray) -> dict[str, float]:
        """How large an image is, and how many are on a square metre of it.

        Args:
            path: of the image.
            shape: of the image itself, rows and columns.
            estimate: its map, ``(K, h, w)``.
        """
        return self._per_metre(self._metres(path), estimate, shape[0] * shape[1])

    def regions(self, path: Path, shape: tuple[int, int], estimate: np.ndarray) -> list[dict[str, Any]]:
        """A row for each region of an image: its name, the numbers that the task reads from it, and its area."""
        rows, metres = [], self._metres(path)
        for name, (region, (high, wide), share) in self.covered(path, shape).items():
            part = estimate[:, high, wide] * share
            rows.append({"region": name, **self.task.numbers(part), **self._per_metre(metres, part, region.area)})
        return rows

    def draw(self, picture: np.ndarray, path: Path, shape: tuple[int, int], rows: Sequence[Mapping[str, Any]]) -> None:
        """Outline the regions in a picture of an image, with the first number of each; where the picture has the image
        several times side by side, with the first one there, the second one in the next.
        """
        zoom = picture.shape[0] / shape[0]
        columns = round(zoom * shape[1])
        for (region, _, _), row in zip(self.covered(path, shape).values(), rows, strict=True):
            numbers = [value for value in row.values() if not isinstance(value, str)]
            place, lines = region.representative_point(), [ring * zoom for ring in rings(region)]
            for number, left in zip(numbers, range(0, picture.shape[1] - columns + 1, columns), strict=False):
                panel, text = picture[:, left : left + columns], f"{row['region']} {number:.1f}"
                outline(panel, lines, text, (place.x * zoom, place.y * zoom))

    def _metres(self, path: Path) -> float | None:
        """How wide a pixel of an image is, where that is known."""
        place = place_of(path) if self.metres is None else None
        return place.metres if place else self.metres

    def _per_metre(self, metres: float | None, estimate: np.ndarray, pixels: float) -> dict[str, float]:
        if metres is None:
            return {}
        counts = (float(density.sum(dtype=np.float64)) for density in self.task.densities(estimate).values())
        area = pixels * metres**2
        return {"square_metres": area, "per_square_metre": sum(max(0.0, count) for count in counts) / area}

    def covered(self, path: Path, shape: tuple[int, int]) -> dict[str, Covered]:
        """The regions of an image of that shape, rows and columns, and what of its map each covers; a DataError where
        they are of another one.
        """
        height, width = shape
        key = (height, width, str(path) if path.suffix.lower() in GEOTIFF_SUFFIXES else "")
        if self._last is None or self._last[0] != key:
            seen = smaller(width, height, self.max_side) or (width, height)
            extent = (seen[0] / self.stride, seen[1] / self.stride)
            zoom = extent[0] / width, extent[1] / height
            regions = self._within(path, shape).items()
            covered = {name: (one, *shares(scale(one, *zoom, origin=(0, 0)), extent)) for name, one in regions}
            self._last = key, covered
        return self._last[1]

    def _within(self, path: Path, shape: tuple[int, int]) -> dict[str, Shape]:
        if self.read is None:
            return {}
        place = place_of(path) if self.read.size is None else None
        return self.read.within(shape[1], shape[0], path, place)
