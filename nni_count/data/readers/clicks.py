"""Own data as one CSV file of clicks: a line names its image."""

from __future__ import annotations

from pathlib import Path

from nni_count.data.files import find_files
from nni_count.data.images import IMAGE_SUFFIXES
from nni_count.data.readers.own import UNNAMED, Document, LabelledData, Mark
from nni_count.data.readers.text import Table
from nni_count.data.sample import Sample
from nni_count.errors import DataError

#: what the column of the images, and that of the labels, may be called
IMAGE, LABEL = ("image", "filename", "file", "file_name", "image_name"), ("label", "class")
#: those of the size at which an image was clicked
SIZE = ("image_width", "image_height")


class Clicks(LabelledData):
    """Images in ``images/`` or side by side, with one CSV file of clicks: columns ``image``, ``x`` and ``y`` in pixels.

    The column of images may be called ``filename`` or ``file`` too, or by any name where it is the only one of names
    with the suffix of an image. ``label`` (or ``class``) says what was clicked, ``image_width`` and ``image_height``,
    both or neither, how large the image was then; other columns are left alone. An image without anything has a line
    with neither x nor y.
    """

    layout = "images/NAME.jpg, or side by side, with one CSV file of the columns image, x and y"

    @staticmethod
    def recognises(root: Path) -> bool:
        return bool(click_tables(root))

    def read_all(self) -> list[Sample]:
        paths = click_tables(self.root)
        if len(paths) != 1:
            what = f"{' and '.join(path.name for path in paths[:2])} are tables of clicks; put them into one"
            missing = "no CSV file in it has the columns image, x and y; name them so in its first line"
            raise DataError(f"{self.root}: {what if paths else missing}")
        clicks, sizes = self._clicks(paths[0])
        document = Document(self, paths[0], (self.image_folder(), self.root))
        samples = self.gather(clicks, lambda name: document.sample(document.image(name), clicks[name], sizes.get(name)))
        document.check_others()
        return samples

    def _clicks(self, path: Path) -> tuple[dict[str, list[Mark]], dict[str, tuple[int, int]]]:
        """The points of each image that the table names, with their labels; and the images' sizes, where it tells."""
        clicks: dict[str, list[Mark]] = {}
        sizes: dict[str, tuple[int, int]] = {}
        table = Table(path)
        places = [_image_column(table), *(table.column(*names) for names in (("x",), ("y",), LABEL))]
        places += [table.column(name) for name in SIZE]
        for number, cells in table.rows[1:]:
            image, x, y, label, *size = ("" if at is None or at >= len(cells) else cells[at] for at in places)
            try:
                point = (table.number(x), table.number(y)) if x or y else None
                if any(size):
                    width, height = map(table.number, size)
                    if width % 1 or height % 1:
                        raise ValueError("no pixels")
                    told = (int(width), int(height))
                    if sizes.setdefault(image, told) != told:
                        raise table.fault(number, f"the size of {image} as in a line before")
            except ValueError:
                if any(size):
                    raise table.fault(number, f"both {' and '.join(SIZE)} in whole pixels, or neither") from None
                image = ""
            if not image or len(cells) > len(table.header):
                raise table.fault(number, "image, x and y")
            points = clicks.setdefault(image, [])
            if point and self.wanted(label or UNNAMED):
                points.append((label or UNNAMED, point))
        return clicks, sizes


def click_tables(root: Path) -> list[Path]:
    """The CSV files of clicks in a folder, known by their first lines."""
    paths = [path for suffix in (".csv", ".tsv", ".txt") for path in find_files(root, suffix).values()]
    return [path for path in paths if _is_of_clicks(path)]


def _is_of_clicks(path: Path) -> bool:
    try:
        table = Table(path, most=2)
    except DataError:
        return False
    return {"x", "y"} <= set(table.header) and _image_column(table) is not None


def _image_column(table: Table) -> int | None:
    """The place of the images' names."""
    named = table.column(*IMAGE)
    if named is not None or len(table.rows) < 2:
        return named
    found = [at for at, cell in enumerate(table.rows[1][1]) if Path(cell).suffix.lower() in IMAGE_SUFFIXES]
    return found[0] if len(found) == 1 else None
