"""Own data in COCO's format: keypoints or boxes."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from nni_count.data.readers.own import Document, LabelledData, Mark, label_of
from nni_count.data.readers.text import as_flag, as_id, as_number, as_points, json_keys, read_json, understood
from nni_count.data.sample import Sample
from nni_count.errors import DataError

PLACES = ("*.json", "annotations/*.json", "*/_annotations.coco.json")
#: words in the names of keypoints of a head, such as "left_eye", "leftEye" and "Nose", and not "rear_wheel"
HEAD = re.compile("(left|right)?(nose|eye|ear|head)s?")


class COCO(LabelledData):
    """``annotations/*.json`` (or ``*.json``) with ``images/``; the parts are those that the files are named after.

    A file whose name says neither train, val nor test is divided by a seeded draw. A person is the mean of its visible
    keypoints of the head, else of all visible ones, else the centre of its box. Crowds marked ``iscrowd`` are regions
    of unknown count and are left out with a word.

    Args:
        annotations: which files are meant where there are several, e.g. ``person_keypoints_*``.
    """

    layout = "annotations/*.json of COCO (or *.json, or PART/_annotations.coco.json) with images/"

    def __init__(self, root: str | Path, *, annotations: str = "*", **common: Any):
        super().__init__(root, **common)
        self.annotations, self.crowds = annotations, 0
        for path in _documents(self.root):
            if path.match(annotations) or path.match(annotations + ".json"):
                part = _part(path)
                if part in self.files:
                    raise DataError(
                        f"{self.files[part]} and {path}: both annotate the part {part!r}; "
                        "name the one that is meant with --data.annotations"
                    )
                self.files[part] = path
        self.divides = set(self.files) <= {"all"}
        if "all" in self.files and not self.divides:
            raise DataError(
                f"{self.files['all']}: its name says neither train, val nor test, as others' do; "
                "name those that are meant with --data.annotations"
            )

    @staticmethod
    def recognises(root: Path) -> bool:
        return bool(_documents(root))

    def read_all(self) -> list[Sample]:
        if "all" not in self.files:
            raise DataError(f"{self.root}: no file of annotations fits; check --data.annotations")
        return self.read_part(self.files["all"])

    def read_part(self, path: Path) -> list[Sample]:
        content = read_json(path)
        with understood(path, "COCO"):
            images = self._by_id(content["images"], "images", path)
            kinds = self._by_id(content.get("categories") or [], "categories", path)
            things: dict[str, list[tuple[int, Any]]] = {number: [] for number in images}
            for place, thing in enumerate(content["annotations"]):
                if as_id(thing["image_id"]) in things:
                    things[as_id(thing["image_id"])].append((place, thing))
                else:
                    where = f"{path}: annotations[{place}] is of image_id {thing['image_id']!r}"
                    self.fault(DataError(f"{where}, which the file does not list; mend it"))
        homes = [self.root / "images", path.parent, self.root]
        homes += [folder / path.stem.rpartition("_")[2] for folder in (self.root, self.root / "images")]
        document = Document(self, path, homes)

        def make(number: str) -> Sample:
            image = images[number]
            with understood(path, f"COCO's image of id {number}"):
                size = [int(image.get(side) or 0) for side in ("width", "height")]  # 0: not told
                file = document.image(str(image["file_name"]))
            marks = [mark for place, thing in things[number] for mark in self._marks(thing, kinds, place, path)]
            return document.sample(file, marks, (size[0], size[1]) if all(size) else None)

        self.crowds = 0
        samples = self.gather(images, make)
        if self.crowds:
            warnings.warn(f"{path}: {self.crowds} regions marked iscrowd, of unknown count, are left out", stacklevel=2)
        if self.divides:  # else the images of another part may lie beside these
            document.check_others()
        return samples

    def _by_id(self, things: list[dict[str, Any]], what: str, path: Path) -> dict[str, dict[str, Any]]:
        """Things by their ids, of which none may occur twice."""
        found: dict[str, dict[str, Any]] = {}
        for place, thing in enumerate(things):
            if found.setdefault(as_id(thing["id"]), thing) is not thing:
                error = f"{path}: {what}[{place}] has the id {thing['id']!r} of another one; number them anew"
                self.fault(DataError(error))
        return found

    def _marks(self, thing: Any, kinds: dict[str, Any], place: int, path: Path) -> list[Mark]:
        """Where a thing is, with its label, if it is counted."""
        with understood(path, f"COCO's annotations[{place}]"):
            kind = kinds[as_id(thing["category_id"])] if kinds else {}
            label = label_of(kind.get("name"))
            self.crowds += (crowd := as_flag(thing.get("iscrowd")))
            if not self.wanted(label) or crowd:
                return []
            centre = _centre(thing, kind)
            if centre is None:
                where = f"{path}: annotations[{place}] ({label})"
                raise DataError(f"{where} has neither visible keypoints nor a bbox; mend or remove it")
            return [(label, centre)]


def _centre(thing: dict[str, Any], kind: dict[str, Any]) -> np.ndarray | None:
    joints = as_points(thing.get("keypoints") or [], 3)  # x, y, and 0 where it is not marked
    names = kind.get("keypoints") or []
    of_head = np.array([index < len(names) and _is_of_head(names[index]) for index in range(len(joints))], bool)
    for chosen in (of_head & (joints[:, 2] > 0), joints[:, 2] > 0):
        if chosen.any():
            return np.asarray(joints[chosen, :2].mean(0))
    if not isinstance(thing.get("bbox") or None, list):
        return None
    x, y, width, height = map(as_number, thing["bbox"])
    return np.array([x + width / 2, y + height / 2])


def _is_of_head(name: str) -> bool:
    return any(HEAD.fullmatch(word.lower()) for word in re.findall("[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name))


def _documents(root: Path) -> list[Path]:
    paths = dict.fromkeys(path for place in PLACES for path in sorted(root.glob(place)) if path.name[0] != ".")
    return [path for path in paths if {"images", "annotations"} & json_keys(path)]


def _part(path: Path) -> str:
    """The part that a file is named after, e.g. ``instances_train2017.json`` or ``train/_annotations.coco.json``."""
    name = path.parent.name if path.name == "_annotations.coco.json" else path.stem
    found = re.search(r"(?<![a-z])(train|val|test)(id)?(?![a-z])", name.lower())
    return found[1] if found else "all"
