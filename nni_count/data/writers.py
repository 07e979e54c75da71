"""Points that were found, as files: of forms that the readers take, so that they can be corrected and learned from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from nni_count.data.geotiff import place_of
from nni_count.errors import SettingError
from nni_count.runs.files import free_name, write_text
from nni_count.runs.tables import GrowingTable

DIGITS = 2  # of a pixel, that coordinates are written with


@dataclass(frozen=True)
class Marked:
    """An image with what was found in it.

    Args:
        path: the image file.
        name: what annotations call it: its path from the folder that all images lie in, with ``/``.
        size: width and height in pixels, as viewers show it.
        kinds: by label the points ``(N, 2)``, x y in pixels, and their shares of the count ``(N,)``.
    """

    path: Path
    name: str
    size: tuple[int, int]
    kinds: Mapping[str, tuple[np.ndarray, np.ndarray]]

    def __iter__(self) -> Iterator[tuple[str, list[float], float]]:
        """Label, x and y, and share of each point, as they are written."""
        for label, (points, mass) in self.kinds.items():
            for point, share in zip(np.round(points, DIGITS).tolist(), mass.tolist(), strict=True):
                yield label, point, float(f"{share:.6g}")


class PointWriter:
    """Writes the points of one image after another.

    Args:
        folder: that it writes into.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.taken: set[str] = set()

    def add(self, marked: Marked) -> None:
        """Write an image's points."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write what could not be written before the last image."""

    def _write(self, marked: Marked, suffix: str, document: Mapping[str, Any]) -> None:
        """A file of its own for an image, below a folder as the image lies below that of all."""
        name = free_name(str(PurePosixPath(marked.name).with_suffix("")), suffix, self.taken)
        write_text(self.folder / name, json.dumps(document, indent=1) + "\n")


class CSVWriter(PointWriter):
    """``points.csv``, clicks (:class:`nni_count.data.readers.clicks.Clicks`): a row a point, and one without x and y
    for an image with nobody.
    """

    def __init__(self, folder: Path):
        super().__init__(folder)
        columns = ["image", "x", "y", "label", "mass", "image_width", "image_height"]
        self.table = GrowingTable(folder / "points.csv", columns)

    def add(self, marked: Marked) -> None:
        found: list[list[Any]] = [[*place, label, share] for label, place, share in marked]
        rows = [[marked.path, *row, *marked.size] for row in found or [[""] * 4]]
        self.table.add(*(dict(zip(self.table.columns, row, strict=True)) for row in rows))


class LabelMeWriter(PointWriter):
    """``labelme/NAME.json``, which LabelMe opens, and which is read from beside the images."""

    def __init__(self, folder: Path):
        super().__init__(folder / "labelme")

    def add(self, marked: Marked) -> None:
        shapes = [
            {"label": label, "points": [point], "shape_type": "point", "description": f"{share:.4g}", "flags": {}}
            for label, point, share in marked
        ]
        document = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": self._seen_from(marked)}
        width, height = marked.size
        self._write(marked, ".json", {**document, "imageData": None, "imageHeight": height, "imageWidth": width})

    def _seen_from(self, marked: Marked) -> str:
        """The path of an image from its document's folder, from where LabelMe looks for it."""
        try:
            return Path(os.path.relpath(marked.path, self.folder / PurePosixPath(marked.name).parent)).as_posix()
        except ValueError:  # on another drive
            return str(marked.path.absolute())


class COCOWriter(PointWriter):
    """``points_coco.json``, one document: a point is a visible keypoint, and the pixel that it lies in a box."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.images: list[dict[str, Any]] = []
        self.things: list[dict[str, Any]] = []
        self.categories: dict[str, int] = {}

    def add(self, marked: Marked) -> None:
        number, (width, height) = len(self.images) + 1, marked.size
        self.images.append({"id": number, "file_name": marked.name, "width": width, "height": height})
        for label in marked.kinds:
            self.categories.setdefault(label, len(self.categories) + 1)
        for label, (x, y), share in marked:
            thing = {"id": len(self.things) + 1, "image_id": number, "category_id": self.categories[label]}
            place = {"keypoints": [x, y, 2], "num_keypoints": 1, "bbox": [int(x), int(y), 1, 1], "area": 1}
            self.things.append({**thing, **place, "iscrowd": 0, "mass": share})

    def finish(self) -> None:
        kinds = [
            {"id": n, "name": label, "keypoints": ["head"], "skeleton": []} for label, n in self.categories.items()
        ]
        document = {"images": self.images, "annotations": self.things, "categories": kinds}
        write_text(self.folder / "points_coco.json", json.dumps(document) + "\n")


class GeoJSONWriter(PointWriter):
    """``geojson/NAME.geojson``: points with ``label`` and ``mass``, x to the right and y down in pixels; of a GeoTIFF
    in the coordinates of its map, which ``crs`` names.
    """

    def __init__(self, folder: Path):
        super().__init__(folder / "geojson")

    def add(self, marked: Marked) -> None:
        ground = place_of(marked.path)
        features = []
        for label, at, share in marked:
            there = ground.to_map(np.array([at]))[0].tolist() if ground else at
            about = {"label": label, "mass": share}
            features.append(
                {"type": "Feature", "geometry": {"type": "Point", "coordinates": there}, "properties": about}
            )
        document: dict[str, Any] = {"type": "FeatureCollection", "features": features}
        if ground and ground.code:
            document["crs"] = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{ground.code}"}}
        self._write(marked, ".geojson", document)


#: ``--points`` → its writer
POINT_WRITERS = {"csv": CSVWriter, "geojson": GeoJSONWriter, "labelme": LabelMeWriter, "coco": COCOWriter}


def chosen_writers(formats: str | Sequence[str]) -> list[type[PointWriter]]:
    """The writers of formats by name, several with commas between them.

    Raises:
        SettingError: one is unknown, or none is named.
    """
    names = [name.strip() for name in (formats.split(",") if isinstance(formats, str) else formats)]
    unknown = [name for name in names if name not in POINT_WRITERS]
    if unknown or not names:
        raise SettingError(f"points: {(unknown or ['nothing'])[0]!r} is unknown; known: {', '.join(POINT_WRITERS)}")
    return [POINT_WRITERS[name] for name in dict.fromkeys(names)]


def names_of(paths: Sequence[Path]) -> dict[Path, str]:
    """What annotations call images: their paths from the folder that all of them lie in."""
    absolute = {path: Path(os.path.abspath(path)) for path in paths}
    try:
        common = os.path.commonpath([path.parent for path in absolute.values()])
    except ValueError:  # on several drives
        return {path: path.name for path in paths}
    return {path: place.relative_to(common).as_posix() for path, place in absolute.items()}
