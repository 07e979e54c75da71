"""Own data annotated with LabelMe."""

from __future__ import annotations

import posixpath
from pathlib import Path

import numpy as np

from nni_count.data.files import find_files, find_images
from nni_count.data.readers.own import LabelledData
from nni_count.data.readers.text import head, read_json, understood
from nni_count.data.sample import Sample
from nni_count.errors import DataError

FOLDERS = ("", "annotations", "labels", "images")


class LabelMe(LabelledData):
    """``NAME.json`` beside ``NAME.jpg``, or in ``annotations`` or ``labels``.

    Points count, and the centres of rectangles and circles.
    """

    layout = "NAME.json of LabelMe beside NAME.jpg"

    @staticmethod
    def recognises(root: Path) -> bool:
        return bool(_documents(root))

    def read_all(self) -> list[Sample]:
        documents, folder = _documents(self.root), self.image_folder()
        images = find_images(folder)
        names = self.check_pairs(images, documents, folder, next(iter(documents.values()), folder).parent)
        return self.gather(names, lambda name: self._sample(name, images[name], documents[name]))

    def _sample(self, name: str, image: Path, path: Path) -> Sample:
        document = read_json(path)
        with understood(path, "LabelMe"):
            # relative to the document, so it may well begin with ".."
            named = str(document["imagePath"]).replace("\\", "/")
            self.check_name(posixpath.normpath(posixpath.join(path.parent.relative_to(self.root), named)), path)
            points = []
            for shape in document["shapes"]:
                if self.wanted(shape["label"]):
                    corners, kind = np.asarray(shape["points"], float), shape.get("shape_type", "point")
                    if kind not in ("point", "rectangle", "circle"):
                        raise DataError(
                            f"{path}: {kind} is no point, rectangle or circle; mark a point, or give --data.label"
                        )
                    points.append(corners.mean(0) if kind == "rectangle" else corners[0])
            size = document.get("imageWidth"), document.get("imageHeight")
            found = np.array(points, float).reshape(-1, 2)
            return self.sample(name, image, found, size=None if None in size else (int(size[0]), int(size[1])))


def _documents(root: Path) -> dict[str, Path]:
    paths = [path for folder in FOLDERS for path in find_files(root / folder, ".json").values()]
    return {path.stem: path for path in paths if '"shapes"' in head(path)}
