"""Own data annotated with CVAT ("CVAT for images 1.1")."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

from nni_count.data.files import find_files
from nni_count.data.readers.own import Document, LabelledData, Mark
from nni_count.data.readers.text import as_flag, as_number, read_xml, understood, xml_root
from nni_count.data.sample import Sample
from nni_count.errors import DataError

SIDES = "xtl", "ytl", "xbr", "ybr"


class CVAT(LabelledData):
    """``annotations.xml`` with ``images/``; points, and centres of boxes and ellipses.

    What has left the picture (``outside``) is not counted; what is hidden in it (``occluded``) is.
    """

    layout = "annotations.xml of CVAT with images/"

    @staticmethod
    def recognises(root: Path) -> bool:
        return bool(_documents(root))

    def read_all(self) -> list[Sample]:
        path, *more = _documents(self.root) or [self.root / "annotations.xml"]
        if more:
            raise DataError(f"{path} and {more[0]}: two annotations of CVAT; keep one of them in the folder")
        content = read_xml(path)
        if content.find("track") is not None:
            raise DataError(f"{path}: annotates a video; export it as 'CVAT for images 1.1'")
        document = Document(self, path, (self.root / "images", self.root))
        samples = self.gather(content.iter("image"), lambda image: self._sample(image, document))
        document.check_others()
        return samples

    def _sample(self, image: Element, document: Document) -> Sample:
        with understood(document.path, f"CVAT's image {image.get('name')}"):
            file = document.image(image.attrib["name"])
            size = int(image.attrib["width"]), int(image.attrib["height"])
            marks = [mark for shape in image if shape.tag != "tag" for mark in self._marks(shape, document.path)]
        return document.sample(file, marks, size)

    def _marks(self, shape: Element, path: Path) -> list[Mark]:
        label, facts = shape.attrib["label"], shape.attrib
        if not self.wanted(label) or as_flag(facts.get("outside")):
            return []
        if shape.tag == "points":  # one shape may hold several
            pairs = [pair.split(",") for pair in facts["points"].split(";")]
            return [(label, [as_number(x), as_number(y)]) for x, y in pairs]
        if shape.tag == "box":
            left, top, right, bottom = (as_number(facts[side]) for side in SIDES)
            return [(label, [(left + right) / 2, (top + bottom) / 2])]
        if shape.tag == "ellipse":
            return [(label, [as_number(facts["cx"]), as_number(facts["cy"])])]
        raise DataError(
            f"{path}: {shape.tag} is no points, box or ellipse; mark points, or give another label with --data.label"
        )


def _documents(root: Path) -> list[Path]:
    return [path for path in find_files(root, ".xml").values() if xml_root(path) == "annotations"]
