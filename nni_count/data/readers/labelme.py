"""Own data annotated with LabelMe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nni_count.data.files import by_name, find_files, find_images
from nni_count.data.readers.own import LabelledData, Mark, label_of
from nni_count.data.readers.text import as_points, json_keys, read_json, understood
from nni_count.data.sample import Sample
from nni_count.errors import DataError

FOLDERS = ("", "annotations", "labels", "labelme", "images")
#: how many corners each shape that has a middle may have; a circle's first is its centre
CORNERS = {"point": (1,), "rectangle": (2, 4), "circle": (2,)}


class LabelMe(LabelledData):
    """``NAME.json`` beside ``NAME.jpg``, or in ``annotations``, ``labels`` or ``labelme``; or ``labelme/DAY/NAME.json``
    for ``DAY/NAME.jpg``.

    Points count, and the centres of rectangles and circles.
    """

    layout = "NAME.json of LabelMe beside NAME.jpg"

    @staticmethod
    def recognises(root: Path) -> bool:
        return bool(_documents(root))

    def read_all(self) -> list[Sample]:
        documents, folder = _documents(self.root), self.image_folder()
        nested = any("/" in name for name in documents)
        images = _images_below(folder) if nested else find_images(folder)
        names = self.check_pairs(images, documents, folder, next((path.parent for path in documents.values()), folder))

        def make(name: str) -> Sample:
            path = documents[name]
            document = read_json(path)
            with understood(path, "LabelMe"):
                if not nested:  # else another folder may have an image of that name
                    self.check_own(str(document.get("imagePath", "")), name, images, path)
                size = document.get("imageWidth"), document.get("imageHeight")
                pixels = None if None in size else (int(size[0]), int(size[1]))
                shapes = list(document["shapes"])
            marks = [mark for number, shape in enumerate(shapes, 1) for mark in self._marks(shape, number, path)]
            return self.labelled(name, images[name], marks, pixels)

        return self.gather(names, make)

    def _marks(self, shape: Any, number: int, path: Path) -> list[Mark]:
        """The point of a shape with its label, where it is counted."""
        with understood(path, f"LabelMe's shape {number}"):
            label, corners = label_of(shape["label"]), as_points(shape["points"])
            # old versions name no polygon as one
            kind = shape.get("shape_type") or ("point" if len(corners) == 1 else "polygon")
            if not self.wanted(label):
                return []
            if kind not in CORNERS or len(corners) not in CORNERS[kind]:
                raise DataError(
                    f"{path}: shape {number} ({label}), a {kind} of {len(corners)} corners, is no point, rectangle or "
                    "circle; mark a point, or give another label with --data.label"
                )
            return [(label, corners.mean(0) if kind == "rectangle" else corners[0])]


def _documents(root: Path) -> dict[str, Path]:
    """By the names of their images: those of one folder, else of the folders in it."""
    paths = [path for folder in FOLDERS for path in find_files(root / folder, ".json").values()]
    found = by_name((path.stem, path) for path in paths if "shapes" in json_keys(path))
    if found:
        return found
    below = [(inner.name, path) for inner in _inner(root) for path in find_files(inner, ".json").values()]
    return by_name((f"{day}/{path.stem}", path) for day, path in below if "shapes" in json_keys(path))


def _inner(root: Path) -> list[Path]:
    """The folders in ``labelme``, which ``predict`` writes for images of several folders; parts are data sets each."""
    folders = sorted((root / "labelme").iterdir()) if (root / "labelme").is_dir() else []
    return [path for path in folders if path.is_dir() and path.name.lower() not in ("train", "val", "valid", "test")]


def _images_below(folder: Path) -> dict[str, Path]:
    below = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    return by_name((f"{day.name}/{name}", path) for day in below for name, path in find_images(day).items())
