"""Own data in COCO's format: keypoints or boxes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from nni_count.data.readers.own import LabelledData
from nni_count.data.readers.text import head, read_json, understood
from nni_count.data.sample import Sample
from nni_count.errors import DataError

PLACES = ("*.json", "annotations/*.json", "*/_annotations.coco.json")
HEAD = re.compile("nose|eye|ear|head")


class COCO(LabelledData):
    """``annotations/*.json`` (or ``*.json``) with ``images/``; the parts are those that the files are named after.

    A file whose name says neither train, val nor test is divided by a seeded draw. A person is the mean of its visible
    keypoints of the head, else of all visible ones, else the centre of its box. Crowds marked ``iscrowd`` are regions
    of unknown count and are left out.

    Args:
        annotations: which files are meant where there are several, e.g. ``person_keypoints_*``.
    """

    layout = "annotations/*.json of COCO (or *.json, or PART/_annotations.coco.json) with images/"

    def __init__(self, root: str | Path, *, annotations: str = "*", **common: Any):
        super().__init__(root, **common)
        self.annotations = annotations
        self.files: dict[str, Path] = {}
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

    @property
    def splits(self) -> tuple[str, ...]:
        return super().splits if self.divides else tuple(self.files)

    def everything(self) -> list[Sample]:
        return super().everything() if self.divides else [s for split in self.splits for s in self.part(split)]

    def read(self, split: str) -> list[Sample]:
        return super().read(split) if self.divides else self._read(self.files[split])

    def read_all(self) -> list[Sample]:
        if "all" not in self.files:
            raise DataError(f"{self.root}: no file of annotations fits; check --data.annotations")
        return self._read(self.files["all"])

    def _read(self, path: Path) -> list[Sample]:
        document = read_json(path)
        with understood(path, "COCO"):
            images = {image["id"]: image for image in document["images"]}
            things: dict[Any, list[Any]] = {number: [] for number in images}
            for thing in document["annotations"]:
                if thing["image_id"] in things:
                    things[thing["image_id"]].append(thing)
                else:
                    self.fault(
                        DataError(f"{path}: annotates image_id {thing['image_id']!r}, which it does not list; mend it")
                    )
            kinds = {kind["id"]: kind for kind in document.get("categories", [])}
        folders = [self.root / "images", path.parent, self.root]
        folders += [folder / path.stem.rpartition("_")[2] for folder in (self.root, self.root / "images")]

        def make(number: Any) -> Sample:
            with understood(path, "COCO"):
                image = images[number]
                size = (int(image["width"]), int(image["height"])) if "width" in image else None
                points = []
                for thing in things[number]:
                    kind = kinds.get(thing.get("category_id"), {})
                    if self.wanted(kind.get("name", "unnamed")) and not thing.get("iscrowd"):
                        points.append(_centre(thing, kind))
                return self.listed(image["file_name"], path, folders, points, size)

        samples = self.gather(images, make)
        if self.divides:  # else the images of another part may lie beside these
            self.check_listed(path)
        return samples


def _centre(thing: dict[str, Any], kind: dict[str, Any]) -> np.ndarray:
    joints = np.asarray(thing.get("keypoints", []), float).reshape(-1, 3)  # x, y, and 0 where it is not marked
    names = kind.get("keypoints", [])
    of_head = np.array([index < len(names) and HEAD.search(names[index]) is not None for index in range(len(joints))])
    for chosen in (of_head.astype(bool) & (joints[:, 2] > 0), joints[:, 2] > 0):
        if chosen.any():
            return np.asarray(joints[chosen, :2].mean(0))
    x, y, width, height = map(float, thing["bbox"])
    return np.array([x + width / 2, y + height / 2])


def _documents(root: Path) -> list[Path]:
    paths = [path for place in PLACES for path in sorted(root.glob(place))]
    return [path for path in paths if re.search(r'"(images|annotations|categories|licenses)"\s*:', head(path))]


def _part(path: Path) -> str:
    """The part that a file is named after, e.g. ``instances_train2017.json`` or ``train/_annotations.coco.json``."""
    name = path.parent.name if path.name == "_annotations.coco.json" else path.stem
    found = re.search(r"(?<![a-z])(train|val|test)(id)?(?![a-z])", name.lower())
    return found[1] if found else "all"
