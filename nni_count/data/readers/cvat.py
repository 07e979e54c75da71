"""Own data annotated with CVAT ("CVAT for images 1.1")."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

from nni_count.data.readers.own import LabelledData
from nni_count.data.readers.text import head, read_xml, understood
from nni_count.data.sample import Sample
from nni_count.errors import DataError


class CVAT(LabelledData):
    """``annotations.xml`` with ``images/``; points, and centres of boxes."""

    layout = "annotations.xml of CVAT with images/"

    @staticmethod
    def recognises(root: Path) -> bool:
        return bool(_documents(root))

    def read_all(self) -> list[Sample]:
        path, *more = _documents(self.root)
        if more:
            raise DataError(f"{path} and {more[0]}: two annotations of CVAT; keep one of them in the folder")
        samples = self.gather(read_xml(path).iter("image"), lambda image: self._sample(image, path))
        self.check_listed(path)
        return samples

    def _sample(self, image: Element, path: Path) -> Sample:
        with understood(path, "CVAT for images"):
            points = [point for shape in image if shape.tag != "tag" for point in self._points(shape, path)]
            size = int(image.attrib["width"]), int(image.attrib["height"])
            return self.listed(image.attrib["name"], path, (self.root / "images", self.root), points, size)

    def _points(self, shape: Element, path: Path) -> list[list[float]]:
        if not self.wanted(shape.attrib["label"]):
            return []
        if shape.tag == "points":  # one shape may hold several
            return [[float(value) for value in pair.split(",")] for pair in shape.attrib["points"].split(";")]
        if shape.tag == "box":
            left, top, right, bottom = (float(shape.attrib[side]) for side in ("xtl", "ytl", "xbr", "ybr"))
            return [[(left + right) / 2, (top + bottom) / 2]]
        raise DataError(f"{path}: {shape.tag} is neither points nor box; mark points, or give --data.label")


def _documents(root: Path) -> list[Path]:
    return [path for path in sorted(root.glob("*.xml")) if "<annotations>" in head(path)]
