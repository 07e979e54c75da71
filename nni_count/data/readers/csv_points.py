"""Own data as a CSV file of x and y for every image."""

from __future__ import annotations

from pathlib import Path

from nni_count.data.files import find_files, find_images
from nni_count.data.readers.clicks import click_tables
from nni_count.data.readers.own import OwnData
from nni_count.data.readers.text import read_points, table_cells
from nni_count.data.sample import Sample


class CSVPoints(OwnData):
    """``images/NAME.jpg`` with ``points/NAME.csv``, or both side by side: a line ``x,y`` for each point.

    A first line may name the columns; those called x and y are then taken. Comma, semicolon or tab stand between them;
    beside a semicolon or tab, a comma is a decimal one. An image with nobody has an empty file.
    """

    layout = "images/NAME.jpg with points/NAME.csv, or side by side"

    @staticmethod
    def recognises(root: Path) -> bool:
        found = any(find_files(root / folder, ".csv") for folder in ("", "points", "images"))
        return found and not click_tables(root)

    def read_all(self) -> list[Sample]:
        image_folder = self.image_folder()
        point_folder = next(f for f in (self.root / "points", image_folder, self.root) if find_files(f, ".csv"))
        images, points = find_images(image_folder), find_files(point_folder, ".csv")
        return self.gather(
            self.check_pairs(images, points, image_folder, point_folder),
            lambda name: self.sample(name, images[name], read_points(points[name], _cells, header=True)),
        )


def _cells(line: str) -> list[str]:
    return [cell.replace(",", ".") for cell in table_cells(line)]
