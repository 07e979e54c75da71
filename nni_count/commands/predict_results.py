"""What the folder of a prediction gets of images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nni_count.data.images import Windows
from nni_count.data.writers import Marked, PointWriter
from nni_count.model import Estimator
from nni_count.runs.files import free_name, whole, write_image, write_text
from nni_count.runs.tables import GrowingTable

if TYPE_CHECKING:  # not beside predict's signature: what makes options of that would import it
    from nni_count.tasks.regions import Survey

DRAWN = 4096  # pixels a side of the overlay of an image that is read window by window


class Results:
    """What the folder of a run gets of each image, as soon as it is known."""

    def __init__(
        self,
        folder: Path,
        model: Estimator,
        names: Mapping[Path, str],
        formats: Sequence[type[PointWriter]],
        maps: bool,
        survey: Survey | None,
    ):
        self.folder, self.model, self.names, self.maps, self.survey = folder, model, names, maps, survey
        self.noun = model.task.noun
        self.table = GrowingTable(folder / f"{self.noun}s.csv", ["image", "overlay"])
        self.writers = [writer(folder) for writer in formats]
        self.of_regions: GrowingTable | None = None
        self.taken: set[str] = set()

    def add(
        self, row: dict[str, Any], path: Path, image: np.ndarray | Windows, shape: tuple[int, int], estimate: np.ndarray
    ) -> None:
        """Write an image's overlay, whose name the row gets, and its rows; ``shape`` is that of the file itself."""
        task, stride = self.model.task, self.model.map_stride
        regions = row.get("regions", [])
        row["overlay"] = free_name(path.stem, f"_{self.noun}.jpg", self.taken)
        picture = task.draw(image if isinstance(image, np.ndarray) else image.reduced(DRAWN), estimate)
        if self.survey and regions:
            self.survey.draw(picture, path, shape, regions)
        write_image(self.folder / row["overlay"], picture)
        if self.maps:
            with whole((self.folder / row["overlay"]).with_suffix(".npy")) as temporary:
                np.save(temporary, estimate)
        if self.writers:
            from nni_count.tasks.peaks import find_points  # here, since most need no SciPy

            found = find_points(task, estimate, stride, shape, self.model.max_side)
            for writer in self.writers:
                writer.add(Marked(path, self.names[path], (shape[1], shape[0]), found))
        if regions:
            self.of_regions = self.of_regions or GrowingTable(self.folder / "regions.csv", ["image", "region"])
            self.of_regions.add(*({"image": row["image"], **region} for region in regions))
        self.table.add({name: value for name, value in row.items() if name != "regions"})

    def finish(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write what tells of all images."""
        for writer in self.writers:
            writer.finish()
        write_text(self.folder / f"{self.noun}s.json", json.dumps(rows, indent=2) + "\n")
