"""Tables as CSV files: at once, whole or not at all; or row by row, as they come."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nni_count.runs.files import whole


def write_table(path: str | Path, rows: Sequence[Mapping[str, Any]], columns: Iterable[str] | None = None) -> None:
    """Write rows under a header; a name of a file that is no UTF-8 keeps its bytes.

    Args:
        path: the file.
        rows: column → value each.
        columns: the header; that of the first row by default.
    """
    with whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, list(rows[0] if columns is None else columns))
        writer.writeheader()
        writer.writerows(rows)


class GrowingTable:
    """A CSV file whose rows are there as soon as they are known, each whole, under the header of the first one.

    Args:
        path: the file; one that is there is replaced.
        columns: the header where no row comes.
    """

    def __init__(self, path: str | Path, columns: Sequence[str]):
        self.path = Path(path)
        self.columns, self._empty = columns, True
        write_table(self.path, [], columns)

    def add(self, *rows: Mapping[str, Any]) -> None:
        """Write rows, all of them or none.

        Raises:
            OSError: they cannot be written; those before them stand.
        """
        if self._empty:
            write_table(self.path, rows)
            self.columns, self._empty = list(rows[0]), False
            return
        before = self.path.stat().st_size
        try:
            with self.path.open("a", newline="", encoding="utf-8", errors="surrogateescape") as file:
                csv.DictWriter(file, self.columns).writerows(rows)
        except OSError as error:
            os.truncate(self.path, before)
            raise OSError(error.errno, error.strerror, os.fspath(self.path)) from error


def rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose numbers are as people read them: to hundredths, and what is smaller than one to four digits."""
    return {
        name: value if isinstance(value, str) else round(value, 2) if abs(value) >= 1 else float(f"{value:.4g}")
        for name, value in row.items()
    }
