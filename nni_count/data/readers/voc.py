"""Own data in Pascal VOC's layout."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from nni_count.data.files import composed, find_files, find_folder, find_images, natural
from nni_count.data.readers.own import LabelledData, Mark, label_of
from nni_count.data.readers.text import as_number, read_lines, read_xml, understood, xml_root
from nni_count.data.sample import Sample
from nni_count.errors import DataError

PARTS = ("train", "val", "test")
SIDES = ("xmin", "ymin", "xmax", "ymax")


class VOC(LabelledData):
    """``Annotations/NAME.xml`` with ``JPEGImages/NAME.jpg`` (or ``images``), or side by side; centres of boxes.

    Things marked as difficult, truncated or occluded are counted: they are there. The parts are those of
    ``ImageSets/Main/{train,val,test}.txt`` (``trainval.txt`` where there is no ``train.txt``), else they are drawn.
    """

    layout = "Annotations/NAME.xml of Pascal VOC with JPEGImages/NAME.jpg, or side by side"

    def __init__(self, root: str | Path, **common: Any):
        super().__init__(root, **common)
        folder = self.root / "ImageSets" / "Main"
        lists = {part: folder / f"{part}.txt" for part in ("trainval", *PARTS) if (folder / f"{part}.txt").is_file()}
        whole = lists.pop("trainval", None)
        self.files = lists if whole is None or "train" in lists else {"train": whole, **lists}
        self.divides = not self.files

    @staticmethod
    def recognises(root: Path) -> bool:
        return any(xml_root(path) == "annotation" for path in find_files(_folder(root), ".xml").values())

    def read_all(self) -> list[Sample]:
        images, documents = self._found()
        return self._samples(images, documents, images, documents)

    def read_part(self, path: Path) -> list[Sample]:
        images, documents = self._found()
        names = {part: [composed(line.strip()) for _, line in read_lines(file)] for part, file in self.files.items()}
        mine = next(names[part] for part, file in self.files.items() if file == path)
        for name in mine:
            if name not in images and name not in documents:
                self.fault(DataError(f"{path}: {name} has neither image nor annotation; restore both or mend the list"))
            elif sum(name in others for others in names.values()) > 1:
                self.fault(DataError(f"{path}: {name} is in another part too; keep it in one of them"))
        left = documents.keys() - {name for listed in names.values() for name in listed}
        if left and path == next(iter(self.files.values())):
            example = min(left, key=natural)
            warnings.warn(
                f"{path.parent}: {len(left)} annotated images, such as {example}, are in no part", stacklevel=2
            )
        return self._samples(images, documents, [n for n in mine if n in images], [n for n in mine if n in documents])

    def _found(self) -> tuple[dict[str, Path], dict[str, Path]]:
        return find_images(self.image_folder()), find_files(_folder(self.root), ".xml")

    def _samples(
        self,
        images: dict[str, Path],
        documents: dict[str, Path],
        with_image: Collection[str],
        with_document: Collection[str],
    ) -> list[Sample]:
        names = self.check_pairs(with_image, with_document, self.image_folder(), _folder(self.root))
        return self.gather(names, lambda name: self._sample(name, images, documents[name]))

    def _sample(self, name: str, images: dict[str, Path], path: Path) -> Sample:
        document = read_xml(path)
        self.check_own(document.findtext("filename", ""), name, images, path)
        things = enumerate(document.iter("object"), 1)
        marks = [mark for number, thing in things for mark in self._marks(thing, number, path)]
        with understood(path, "Pascal VOC's size"):
            size = [int(float(document.findtext(f"size/{side}") or 0)) for side in ("width", "height")]  # 0: not told
        return self.labelled(name, images[name], marks, (size[0], size[1]) if all(size) else None)

    def _marks(self, thing: Element, number: int, path: Path) -> list[Mark]:
        """The centre of an object's box with its label, where it is counted."""
        label = label_of(thing.findtext("name"))
        if not self.wanted(label):
            return []
        try:
            left, top, right, bottom = (as_number(thing.findtext(f"bndbox/{side}") or "") for side in SIDES)
        except ValueError:
            raise DataError(
                f"{path}: object {number} ({label}) has no bndbox of the numbers {', '.join(SIDES)}; mend or remove it"
            ) from None
        return [(label, [(left + right) / 2, (top + bottom) / 2])]


def _folder(root: Path) -> Path:
    """Where the documents lie."""
    return find_folder(root, "annotations") or root
