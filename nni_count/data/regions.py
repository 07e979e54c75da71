"""Regions of an image, polygons by name: read from GeoJSON, LabelMe or a mask, and how much of each cell they cover."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from PIL import Image
from shapely.affinity import affine_transform, translate
from shapely.errors import ShapelyError
from shapely.geometry import Point, Polygon, box, shape
from shapely.validation import explain_validity

from nni_count.data.files import is_image
from nni_count.data.geotiff import Place
from nni_count.data.marks import read_values
from nni_count.data.readers.text import as_points, read_json, understood
from nni_count.errors import DataError

Shape = Any  # Polygon or MultiPolygon; shapely carries no types
NAMES = ("name", "Name", "NAME", "label", "id", "fid")  # what tools call the name of a feature
BLURRED = 8  # values of a mask, where most are of next to no pixels
BEYOND = 1.0  # pixels that a region may reach beyond its image, as labelling tools let it


@dataclass(frozen=True)
class Regions:
    """Polygons by name.

    Args:
        path: of their file.
        shapes: by name, in pixels, x to the right and y down; or, of a GeoTIFF, in the coordinates of its map.
        size: width and height of the image that they were drawn on, where the file tells.
        code: of the coordinates of a map by EPSG, likewise.
    """

    path: Path
    shapes: Mapping[str, Shape]
    size: tuple[int, int] | None = None
    code: int | None = None

    def within(self, width: int, height: int, image: str | Path, place: Place | None = None) -> dict[str, Shape]:
        """The regions of an image of that size, in its pixels.

        Where the image has a ``place`` on the ground, what lies beyond it is left out.

        Raises:
            DataError: they were drawn on an image of another size, or one reaches beyond this one.
        """
        if self.size not in (None, (width, height)):
            drawn = "×".join(map(str, self.size or ()))
            raise DataError(
                f"{self.path}: its regions were drawn on {drawn} pixels, but {image} has {width}×{height}; give "
                "those of that image"
            )
        if place and self.code not in (None, place.code):
            raise DataError(
                f"{self.path}: its regions are in EPSG:{self.code}, but {image} is in EPSG:{place.code}; export them "
                "in that"
            )
        frame, found = box(0, 0, width, height), {}
        for name, drawn_as in self.shapes.items():
            region = affine_transform(drawn_as, place.to_pixels) if place else drawn_as
            left, top, right, bottom = region.bounds
            found[name] = region.intersection(frame)
            beyond = min(left, top) < -BEYOND or right > width + BEYOND or bottom > height + BEYOND
            if (beyond and not place) or not found[name].area:
                where = f"x {left:.6g} to {right:.6g} and y {top:.6g} to {bottom:.6g}"
                raise DataError(
                    f"{self.path}: region {name!r}, {where}, reaches beyond {image} of {width}×{height} pixels; give "
                    f"regions in the {'map coordinates' if place else 'pixels'} of that image"
                )
        return found


def read_regions(path: str | Path) -> Regions:
    """The regions of a file: polygons of GeoJSON, or what LabelMe draws by corners, as a circle or as a mask, which are
    called as their features or labels are; or a mask, a PNG in which each value or colour but 0 is a region. Polygons
    of one name are one region. Points and lines have no area, and are left alone.

    Raises:
        DataError: it is none of these, holds no region, or one that is no polygon, since it crosses itself.
    """
    path = Path(path)
    if is_image(path):
        return _of_mask(path)
    content, size, code = read_json(path), None, None
    with understood(path, "regions of GeoJSON or LabelMe"), _plain():
        if "shapes" in content:
            named = list(_of_labelme(content["shapes"]))
            told = content.get("imageWidth"), content.get("imageHeight")
            size = (int(told[0]), int(told[1])) if all(told) else None
        else:
            features = content["features"] if content["type"] == "FeatureCollection" else [content]
            named = list(_of_geojson(features))
            code = _code(content.get("crs"))
    parts: dict[str, list[Shape]] = {}
    taken = {str(name) for name, _ in named}
    for number, (name, region) in enumerate(named, 1):
        unnamed = f"region {number}" + " (unnamed)" * (f"region {number}" in taken)
        name = str(name if name not in (None, "") else unnamed)
        own = list(region.geoms) if region.geom_type == "MultiPolygon" else []  # which may touch
        for part in own or [region]:
            if not part.is_valid or not part.area:
                why, _, place = explain_validity(part).partition("[")
                fault = "crosses itself" if "elf-inter" in why else "has no area" if part.is_valid else why.lower()
                raise DataError(
                    f"{path}: region {name!r} is no polygon: {fault} {f'at {place[:-1]}' * bool(place)}; mend it"
                )
            parts.setdefault(name, []).append(part.buffer(0))  # without points and lines that were collected with it
    if not parts:
        raise DataError(f"{path}: holds no region; draw polygons in it, GeoJSON's or LabelMe's")
    return Regions(path, {name: shapely.union_all(regions) for name, regions in parts.items()}, size, code)


@contextmanager
def _plain() -> Iterator[None]:
    """What shapely cannot make a polygon of is a ValueError like others."""
    try:
        yield
    except ShapelyError as error:
        raise ValueError(str(error)) from error


def _of_labelme(shapes: list[dict[str, Any]]) -> Iterator[tuple[Any, Shape]]:
    """What encloses an area; points and lines beside it are left alone, since they may be what is counted."""
    for one in shapes:
        corners, kind = as_points(one["points"]), one.get("shape_type") or "polygon"
        if kind == "mask":
            yield one["label"], translate(_covered(_drawn(one["mask"], corners)), *corners[0])
        elif kind == "rectangle" and len(corners) == 2:
            yield one["label"], box(*corners.min(0), *corners.max(0))
        elif kind == "circle":
            yield one["label"], Point(corners[0]).buffer(float(np.hypot(*(corners[1] - corners[0]))), 64)
        elif kind not in ("point", "points", "line", "linestrip"):  # others are drawn by their corners
            yield one["label"], Polygon(corners)


def _drawn(mask: str, corners: np.ndarray) -> np.ndarray:
    """LabelMe's mask: a PNG as text, from the pixel of its first corner to that of its second."""
    width, height = (corners[1] - corners[0]).astype(int) + 1
    try:
        with Image.open(BytesIO(b64decode(mask))) as picture:
            drawn = np.asarray(picture.convert("L")) > 0 if picture.size == (width, height) else None
    except Exception as error:  # PIL raises whatever the damaged bytes lead to
        raise ValueError("a mask that cannot be read") from error
    if drawn is None:
        raise ValueError(f"a mask of another size than the {width}×{height} pixels that its corners enclose")
    return drawn


def _of_geojson(features: list[dict[str, Any]]) -> Iterator[tuple[Any, Shape]]:
    for feature in features:
        geometry = feature.get("geometry", feature)
        if geometry and shapely.get_dimensions(whole := shape(geometry)) == 2:
            about = feature.get("properties") or {}
            named = [about[key] for key in NAMES if about.get(key) is not None]
            named += [(about.get("classification") or {}).get("name"), feature.get("id")]  # QuPath's
            yield next((name for name in named if name is not None), None), whole


def _code(crs: Any) -> int | None:
    """The EPSG code of GeoJSON's older ``crs``; what newer ones leave out is longitude and latitude, or pixels."""
    name = str(crs["properties"]["name"]) if crs else ""
    found = re.search(r"EPSG:+(?:[\d.]*:)?(\d+)$", name)
    return int(found[1]) if found else 4326 if name.endswith("CRS84") else None


def _of_mask(path: Path) -> Regions:
    """Each value's pixels, exactly."""
    numbers, pixels = read_values(path)
    sizes = np.sort(np.bincount(numbers.ravel())[1:])
    if len(sizes) > BLURRED and sizes[len(sizes) // 2] < sizes[-1] / 1000:
        raise DataError(f"{path}: its edges are blurred, of {len(sizes)} values; save the mask without antialiasing")
    found: dict[str, Shape] = {}
    for number in np.unique(numbers[numbers > 0]).tolist():
        colour = pixels[tuple(np.argwhere(numbers == number)[0])]
        one = len(set(colour.tolist())) == 1
        name = str(colour[0]) if one else "#" + "".join(f"{int(value):02x}" for value in colour[::-1])
        found[name] = _covered(numbers == number)
    if not found:
        raise DataError(f"{path}: holds no region; every pixel is 0")
    height, width = numbers.shape
    return Regions(path, found if len(found) > 1 else {path.stem: next(iter(found.values()))}, (width, height))


def _covered(mask: np.ndarray) -> Shape:
    """The pixels of a mask: a rectangle for each run of them in a row, joined."""
    rows, edges = np.nonzero(np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1)))))  # where runs begin and end
    return shapely.union_all(shapely.box(edges[::2], rows[::2], edges[1::2], rows[::2] + 1))


def shares(region: Shape, extent: tuple[float, float]) -> tuple[tuple[slice, slice], np.ndarray]:
    """How much of each cell of a grid lies in a region, from 0 to 1: exactly, by areas.

    Args:
        region: in cells, within the extent.
        extent: width and height of the image in cells. Of the last cells, which may reach beyond it, what lies within
            counts as a whole.

    Returns:
        Rows and columns of the grid, and the share of each cell there.
    """
    ends = np.minimum(np.ceil(region.bounds[2:]), np.ceil(extent))  # a rounding may lie beyond it
    left, top, right, bottom = (int(edge) for edge in (*np.floor(region.bounds[:2]), *ends))
    covered = np.zeros((bottom - top, right - left))
    shapely.prepare(region)
    pieces = np.array([[left, top, right, bottom]])
    while len(pieces):  # quartered, until a piece lies inside, or outside, or is a cell
        boxes = shapely.box(pieces[:, 0], pieces[:, 1], *np.minimum(pieces[:, 2:], extent).T)
        inside = shapely.contains(region, boxes)
        for x, y, right_, bottom_ in pieces[inside] - [left, top, left, top]:
            covered[y:bottom_, x:right_] = 1
        cut = ~inside & shapely.intersects(region, boxes)
        cell = cut & (pieces[:, 2] - pieces[:, 0] == 1) & (pieces[:, 3] - pieces[:, 1] == 1)
        areas = shapely.area(shapely.intersection(region, boxes[cell])) / shapely.area(boxes[cell])
        covered[pieces[cell, 1] - top, pieces[cell, 0] - left] = areas
        x, y, right_, bottom_ = pieces[cut & ~cell].T
        middle_x, middle_y = (x + right_ + 1) // 2, (y + bottom_ + 1) // 2
        quarters = [
            (x, y, middle_x, middle_y),
            (middle_x, y, right_, middle_y),
            (x, middle_y, middle_x, bottom_),
            (middle_x, middle_y, right_, bottom_),
        ]
        pieces = np.concatenate([np.stack(quarter, 1) for quarter in quarters])
        pieces = pieces[(pieces[:, 2] > pieces[:, 0]) & (pieces[:, 3] > pieces[:, 1])]
    return (slice(top, bottom), slice(left, right)), covered


def rings(region: Shape) -> list[np.ndarray]:
    """The outlines of a region and of its holes, ``(N, 2)`` each."""
    polygons = [part for part in shapely.get_parts(region) if isinstance(part, Polygon)]
    return [np.array(ring.coords)[:, :2] for part in polygons for ring in (part.exterior, *part.interiors)]
