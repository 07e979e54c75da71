"""Tables as CSV files that appear whole or not at all."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nni_count.runs.files import whole


def write_table(path: str | Path, rows: Sequence[Mapping[str, Any]], columns: Iterable[str] | None = None) -> None:
    """Write rows under a header.

    Args:
        path: the file.
        rows: column → value each.
        columns: the header; that of the first row by default.
    """
    with whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0] if columns is None else columns))
        writer.writeheader()
        writer.writerows(rows)
