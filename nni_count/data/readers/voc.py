"""Own data in Pascal VOC's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nni_count.data.files import find_files, find_images
from nni_count.data.readers.own import LabelledData
from nni_count.data.readers.text import head, read_xml, understood
from nni_count.data.sample import Sample

FOLDERS = ("Annotations", "annotations", "")


class VOC(LabelledData):
    """``Annotations/NAME.xml`` with ``JPEGImages/NAME.jpg`` (or ``images``), or side by side; centres of boxes."""

    layout = "Annotations/NAME.xml of Pascal VOC with JPEGImages/NAME.jpg, or side by side"

    @staticmethod
    def recognises(root: Path) -> bool:
        return _folder(root) is not None

    def read_all(self) -> list[Sample]:
        folder, image_folder = _folder(self.root) or self.root, self.image_folder()
        images, documents = find_images(image_folder), find_files(folder, ".xml")
        names = self.check_pairs(images, documents, image_folder, folder)
        return self.gather(names, lambda name: self._sample(name, images[name], documents[name]))

    def _sample(self, name: str, image: Path, path: Path) -> Sample:
        document = read_xml(path)
        with understood(path, "Pascal VOC"):
            self.check_name(document.findtext("filename", image.name), path)
            points = []
            for thing in document.iter("object"):
                if self.wanted(thing.findtext("name")):
                    box = [float(thing.findtext(f"bndbox/{side}", "none")) for side in ("xmin", "ymin", "xmax", "ymax")]
                    points.append([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
            size = [int(document.findtext(f"size/{side}") or 0) for side in ("width", "height")]  # 0: not told
            found = np.array(points, float).reshape(-1, 2)
            return self.sample(name, image, found, size=(size[0], size[1]) if all(size) else None)


def _folder(root: Path) -> Path | None:
    """Where the documents lie."""
    for folder in FOLDERS:
        if any("<annotation>" in head(path) for path in find_files(root / folder, ".xml").values()):
            return root / folder
    return None
