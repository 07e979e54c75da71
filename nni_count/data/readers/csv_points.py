"""Own data as a CSV file of x and y for every image."""

from __future__ import annotations

from pathlib import Path

from nni_count.data.files import find_files, find_images
from nni_count.data.readers.clicks import click_tables
from nni_count.data.readers.own import OwnData
from nni_count.data.readers.text import Table, read_points
from nni_count.data.sample import Sample
from nni_count.errors import DataError


class CSVPoints(OwnData):
    """``images/NAME.jpg`` with ``points/NAME.csv``, or both side by side: a line ``x,y`` for each point.

    A first line may name the columns; those called x and y are then taken. Comma, semicolon or tab stand between them;
    a comma within a number is a decimal one. An image with nobody has an empty file.
    """

    layout = "images/NAME.jpg with points/NAME.csv, or side by side"

    @staticmethod
    def recognises(root: Path) -> bool:
        found = any(find_files(root / folder, ".csv") for folder in ("", "points", "images"))
        return found and not click_tables(root)

    def read_all(self) -> list[Sample]:
        image_folder = self.image_folder()
        folders = self.root / "points", image_folder, self.root
        point_folder = next((folder for folder in folders if find_files(folder, ".csv")), self.root)
        images, points = find_images(image_folder), find_files(point_folder, ".csv")
        path = next(iter(points.values()), self.root)
        if points and not images.keys() & points.keys() and len(Table(path).header) > 2:
            raise DataError(
                f"{path}: no image is called {path.stem}; a table of many images names its columns image, x and y "
                f"in the first line (found: {', '.join(Table(path).header)[:80]})"
            )
        return self.gather(
            self.check_pairs(images, points, image_folder, point_folder),
            lambda name: self.sample(name, images[name], read_points(points[name], header=True)),
        )
