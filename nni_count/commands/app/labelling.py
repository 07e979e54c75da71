"""Heads marked in photos, and saved as LabelMe's after every click: a data set that grows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nni_count.commands.app.view import Looking, View
from nni_count.data.files import find_images, is_image, natural
from nni_count.data.images import IMAGE_SUFFIXES, check_whole, read_image
from nni_count.data.readers.text import read_json, understood
from nni_count.data.writers import LabelMeWriter, Marked
from nni_count.errors import DataError
from nni_count.model import Estimator
from nni_count.runs.files import free_name, whole
from nni_count.tasks.peaks import find_points

#: labels, each with x and y in pixels of the photo as viewers show it
Marks = tuple[tuple[str, float, float], ...]


class Labelling(Looking):
    """Photos with their points in a folder, ``NAME.jpg`` and ``labelme/NAME.json``; one of them is open.

    A photo is in the folder once something was marked in it, so that the folder is a data set at any time.

    Args:
        folder: of the labels.
    """

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = folder
        self.waiting: dict[str, Path] = {}  # photos in which nothing was marked yet
        self.name = ""
        self.marks: Marks = ()
        self.before: list[Marks] = []

    @property
    def names(self) -> list[str]:
        """Of all photos."""
        labelled = [path.name for path in find_images(self.folder).values()] if self.folder.is_dir() else []
        return sorted([*labelled, *self.waiting], key=natural)

    def number(self, name: str) -> int | None:
        """How many heads are marked in a photo; None where nobody has looked."""
        return len(self._saved(name)) if self._document(name).is_file() else None

    def add(self, upload: str | Path) -> str:
        """Take a photo in; gives its name, which is that of one that is there where it is the same photo.

        Raises:
            DataError: it is none.
        """
        upload = Path(upload)
        if not is_image(upload):
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            raise DataError(f"{upload.name}: is none of the kinds {kinds}; save the photo as one of them")
        try:
            read_image(upload)  # looks at the size before it decodes
            check_whole(upload)
        except DataError as error:
            raise DataError(str(error).replace(f"{upload.parent}{os.sep}", "")) from error
        name = {name.lower(): name for name in self.names}.get(upload.name.lower())
        if name is None or self._path(name).read_bytes() != upload.read_bytes():
            taken = {Path(other).stem + upload.suffix for other in self.names}  # a document is called by the stem
            name = free_name(upload.stem, upload.suffix, taken)
            self.waiting[name] = upload
        return name

    def open(self, name: str) -> None:
        """Open a photo, with the heads that were marked before.

        Raises:
            DataError: there is no such photo, or it, or what was saved of it, cannot be read.
        """
        if name not in self.names:
            raise DataError(f"{name}: is not among the photos; drop it")
        self.image, self.centre = read_image(self._path(name), oriented=True), None
        self.name, self.marks, self.before = name, self._saved(name), []

    @property
    def points(self) -> np.ndarray:
        """The marks of the open photo, ``(N, 2)``, x y."""
        return np.array([mark[1:] for mark in self.marks], float).reshape(-1, 2)

    def click(self, view: View, click: Sequence[float], label: str) -> None:
        """Mark a head where a pixel of the view was clicked, or take back the mark that is there."""
        hit = view.hit(self.points, click)
        kept = tuple(mark for number, mark in enumerate(self.marks) if number != hit)
        self.mark((*self.marks, (label, *view.pixels(click))) if hit is None else kept)

    def start_from(self, model: Estimator) -> None:
        """Replace all marks by the points that a model sees."""
        if self.image is not None:
            found = find_points(model.task, model.map(self.image), model.map_stride, self.image.shape, model.max_side)
            self.mark(tuple((label, x, y) for label, (points, _) in found.items() for x, y in points.tolist()))

    def undo(self) -> None:
        """Take back the last change, and save what was before."""
        if self.before:
            self.marks = self.before.pop()
            self._save()

    def mark(self, marks: Marks) -> None:
        """Replace all marks, and save them; with none of them the photo is one with nobody."""
        if self.name:
            self.before.append(self.marks)
            self.marks = marks
            self._save()

    def _save(self) -> None:
        if upload := self.waiting.get(self.name):
            with whole(self.folder / self.name) as temporary:
                shutil.copyfile(upload, temporary)
            del self.waiting[self.name]
        assert self.image is not None
        marked = {label: [mark[1:] for mark in self.marks if mark[0] == label] for label, _, _ in self.marks}
        kinds = {label: (np.array(points), np.ones(len(points))) for label, points in marked.items()}
        size = (self.image.shape[1], self.image.shape[0])
        LabelMeWriter(self.folder).add(Marked(self.folder / self.name, self.name, size, kinds))

    def _path(self, name: str) -> Path:
        return self.waiting.get(name) or self.folder / name

    def _document(self, name: str) -> Path:
        return self.folder / "labelme" / f"{Path(name).stem}.json"

    def _saved(self, name: str) -> Marks:
        path = self._document(name)
        if not path.is_file():
            return ()
        with understood(path, "LabelMe"):
            shapes = [(str(one["label"]), one.get("shape_type"), one["points"]) for one in read_json(path)["shapes"]]
            if others := {kind for _, kind, _ in shapes if kind != "point"}:
                raise DataError(f"{path}: holds {' and '.join(map(str, others))}; correct points alone here")
            return tuple((label, float(x), float(y)) for label, _, ((x, y),) in shapes)
