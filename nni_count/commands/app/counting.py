"""What is dropped on the page, counted: the rows, the pictures, and regions that are drawn on them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nni_count.commands.predict import predict
from nni_count.data.images import scaled_down
from nni_count.data.rasters import open_image
from nni_count.data.video import Watching, is_video
from nni_count.errors import DataError
from nni_count.model import Estimator
from nni_count.pictures.overlays import overlay
from nni_count.runs.files import free_name, write_text
from nni_count.runs.tables import rounded, write_table
from nni_count.tasks.peaks import find_points
from nni_count.tasks.regions import Survey

LARGEST = 3000  # pixels a side of a picture with its density
#: corners, x y in pixels of such a picture
Corners = list[tuple[float, float]]


class Counted:
    """Photos, or clips, that were counted by :func:`nni_count.predict`, in a folder of their own.

    Args:
        uploads: the files.
        model: that counts.
        home: where the folder is made.
        every: seconds between the frames of clips.
    """

    def __init__(self, uploads: Sequence[str | Path], model: Estimator, home: Path, every: float = 1.0):
        self.model, self.folder = model, Path(tempfile.mkdtemp(dir=home))
        self.out, self.error, taken = self.folder / "counts", "", set[str]()
        paths = [self.folder / free_name(upload.stem, upload.suffix, taken) for upload in map(Path, uploads)]
        for upload, path in zip(uploads, paths, strict=True):
            shutil.copyfile(upload, path)
        self.videos = [path for path in paths if is_video(path)]
        what: dict[str, Any] = {"video": Watching(every)} if self.videos else {"maps": True, "points": "csv"}
        try:
            self.rows = predict(paths, model=model, out=self.out, **what)
        except DataError as error:
            self.error = self._named(str(error))
            found = self.out / f"{model.task.noun}s.json"  # of the others
            self.rows = json.loads(found.read_text(encoding="utf-8")) if found.is_file() else []
        for table in self.tables:
            write_text(table, self._named(table.read_text(encoding="utf-8", errors="surrogateescape")))
        self.names = [] if self.videos else [Path(row["image"]).name for row in self.rows]
        #: of each photo, with the one that has just begun
        self.regions: dict[str, list[Corners]] = {name: [[]] for name in self.names}

    def _named(self, text: str) -> str:
        """A text with files as their owner calls them."""
        return text.replace(f", the others are in {self.out}", "").replace(f"{self.folder}/", "")

    @property
    def tables(self) -> list[Path]:
        """The CSV files."""
        return sorted(self.out.glob("*.csv"))

    @property
    def pictures(self) -> tuple[list[Path], list[Path]]:
        """The annotated videos, and their plots."""
        found = sorted(self.out.iterdir())
        return [path for path in found if is_video(path)], [path for path in found if path.suffix == ".png"]

    def in_regions(self, shown: Photo) -> list[dict[str, Any]]:
        """A row for each region of the photo that is shown, and ``regions.csv`` with those of all photos.

        Raises:
            DataError: a region crosses itself.
        """
        rows = []
        for name in (name for name, regions in self.regions.items() if regions[0]):
            photo = shown if name == shown.name else Photo(self, name)
            rows += [{"image": name, **row} for row in photo.count()]
        write_table(self.out / "regions.csv", rows, None if rows else ["image", "region"])
        return [row for row in rows if row["image"] == shown.name]

    def remove(self) -> None:
        """Remove its folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Photo:
    """A photo that was counted, as it is shown.

    Args:
        counted: it is one of.
        name: of its file.
    """

    def __init__(self, counted: Counted, name: str):
        self.model, self.name, self.path = counted.model, name, counted.folder / name
        self.row, self.regions = counted.rows[counted.names.index(name)], counted.regions[name]
        self.estimate = np.load((counted.out / self.row["overlay"]).with_suffix(".npy"))
        image, task = open_image(self.path, **self.model.reading), self.model.task
        self.shape = (image.shape[0], image.shape[1])
        small, total = (
            (scaled_down(image, LARGEST) if isinstance(image, np.ndarray) else image.reduced(LARGEST)),
            np.sum(list(task.densities(self.estimate).values()), 0),
        )
        self.scale = small.shape[1] / image.shape[1]  # of what is shown
        self.picture = overlay(small, total, max(0.0, float(total.sum())), task.noun)
        found = find_points(task, self.estimate, self.model.map_stride, self.shape, self.model.max_side)
        self.points = np.concatenate([points for points, _ in found.values()]) * self.scale

    def count(self) -> list[dict[str, Any]]:
        """A row for each region that has three corners."""
        drawn = [(f"region {n}", np.array(one) / self.scale) for n, one in enumerate(self.regions, 1) if len(one) > 2]
        if not drawn:
            return []
        file = self.path.with_suffix(".json")
        shapes = [{"label": label, "points": one.tolist(), "shape_type": "polygon"} for label, one in drawn]
        write_text(file, json.dumps({"shapes": shapes}))
        try:
            survey = Survey(self.model.task, self.model.map_stride, self.model.max_side, file, None)
            return [rounded(row) for row in survey.regions(self.path, self.shape, self.estimate)]
        except DataError as error:
            raise DataError(str(error).replace(f"{file}: ", "")) from error
