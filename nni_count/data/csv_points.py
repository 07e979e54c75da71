"""Own data as a CSV file of x and y for every image."""

from __future__ import annotations

from pathlib import Path

from nni_count.data.dataset import find_files, find_images
from nni_count.data.own import OwnData
from nni_count.data.sample import Sample
from nni_count.data.text import read_points


class CSVPoints(OwnData):
    """``images/NAME.jpg`` with ``points/NAME.csv``, or both side by side: a line ``x,y`` for each point.

    A first line may name the columns; those called x and y are then taken. Comma, semicolon or tab stand between them.
    An image with nobody has an empty file.
    """

    layout = "images/NAME.jpg with points/NAME.csv, or side by side"

    @staticmethod
    def recognises(root: Path) -> bool:
        return any(any(root.glob(f"{folder}*.csv")) for folder in ("", "points/", "images/"))

    def read_all(self) -> list[Sample]:
        image_folder = self.image_folder()
        point_folder = next(f for f in (self.root / "points", image_folder, self.root) if any(f.glob("*.csv")))
        images, points = find_images(image_folder), find_files(point_folder, ".csv")
        return self.gather(
            self.check_pairs(images, points, image_folder, point_folder),
            lambda name: self.sample(name, images[name], read_points(points[name], "[,;\t]", header=True)),
        )
