"""Own data as one CSV file of clicks: a line names its image."""

from __future__ import annotations

from pathlib import Path

from nni_count.data.readers.own import LabelledData
from nni_count.data.readers.text import head, read_lines, table_cells
from nni_count.data.sample import Sample
from nni_count.errors import DataError


class Clicks(LabelledData):
    """Images in ``images/`` or side by side, with one CSV file of clicks: columns ``image``, ``x`` and ``y`` in pixels.

    Other columns are left alone but ``label``, by which ``--data.label`` chooses. An image without anything has a line
    with neither x nor y.
    """

    layout = "images/NAME.jpg, or side by side, with one CSV file of the columns image, x and y"

    @staticmethod
    def recognises(root: Path) -> bool:
        return bool(click_tables(root))

    def read_all(self) -> list[Sample]:
        table, *others = click_tables(self.root)
        if others:
            raise DataError(f"{others[0]}: a second table of clicks beside {table.name}; put them into one")
        clicks = self._clicks(table)
        folders = (self.image_folder(), self.root)
        samples = self.gather(clicks, lambda name: self.listed(name, table, folders, clicks[name]))
        self.check_listed(table)
        return samples

    def _clicks(self, table: Path) -> dict[str, list[tuple[float, float]]]:
        """The points of each image that the table names."""
        clicks: dict[str, list[tuple[float, float]]] = {}
        columns: list[str] = []
        for number, line in read_lines(table):
            cells = table_cells(line)
            if not columns:
                columns = [cell.lower() for cell in cells]
                continue
            row = dict(zip(columns, cells, strict=False))
            image, x, y = (row.get(name, "") for name in ("image", "x", "y"))
            try:
                point = (float(x.replace(",", ".")), float(y.replace(",", "."))) if x or y else None
            except ValueError:
                image = ""
            if not image:
                raise DataError(f"{table}, line {number}: expected image, x and y, found {line[:60]!r}; mend the line")
            points = clicks.setdefault(image, [])
            if point and ("label" not in row or self.wanted(row["label"])):
                points.append(point)
        return clicks


def click_tables(root: Path) -> list[Path]:
    """The CSV files of clicks in a folder, known by their first line."""

    def columns(path: Path) -> set[str]:
        lines = head(path).removeprefix("\ufeff").splitlines()
        return {cell.lower() for cell in table_cells(lines[0])} if lines else set()

    return sorted(path for path in root.glob("*.csv") if {"image", "x", "y"} <= columns(path))
