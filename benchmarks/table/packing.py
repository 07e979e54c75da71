"""The table's file, made from its rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.table.architectures import FILE
from benchmarks.table.growing import RECIPE
from nni_count.comparing.trained import OURS, architecture_of, write_table
from nni_count.errors import RunError


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows that are there, architecture by architecture.

    Raises:
        RunError: there is none, or a file is no row.
    """
    rows = []
    for path in sorted(folder.glob("[0-9]*.json")):
        try:
            rows.append(json.loads(path.read_text()))
        except ValueError as error:
            raise RunError(f"{path}: is no row ({error}); remove it, and grow trains it again") from None
    if not rows:
        raise RunError(f"{folder}: has no rows; make some with python -m benchmarks.table grow")
    return rows


def pack(folder: Path, out: Path | None = None) -> str:
    """Write the table of the rows in a folder; says what it has.

    Architectures behind the last that has a row are left out.
    """
    rows = read_rows(folder)
    known = [architecture_of(choices) for choices in json.loads((folder / FILE).read_text())]
    number = 1 + max(row["architecture"] for row in rows)
    path = out or OURS
    write_table(path, rows, known[:number], json.loads((folder / RECIPE).read_text()))
    return f"{path}: {len(rows)} rows of {number} architectures, {path.stat().st_size / 1e6:.2f} MB"
