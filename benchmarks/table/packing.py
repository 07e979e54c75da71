"""The table's file, made from its rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.table.architectures import FILE, choices_of
from benchmarks.table.growing import RECIPE
from nni_count.architecture import Architecture
from nni_count.comparing.trained import CURVES, FORMAT, OURS, SHARED, architecture_of
from nni_count.errors import RunError
from nni_count.runs.files import whole


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


def write_table(
    path: str | Path, rows: list[dict[str, Any]], architectures: list[Architecture], recipe: dict[str, Any]
) -> None:
    """Write a table's file, whole or not at all.

    Args:
        path: of the file.
        rows: the fields of :class:`Row` by name, with the architecture's number in its place.
        architectures: by their number.
        recipe: plain JSON.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(f"{row['data']}-{'longer' if row['longer'] else 'short'}", []).append(row)
    arrays: dict[str, np.ndarray] = {}
    for name, some in groups.items():
        facts = [[row[key] for key in ("architecture", "seed", "parameters", "flops")] for row in some]
        arrays[f"{name}/facts"] = np.array(facts, np.int64)
        arrays.update({f"{name}/{key}": np.array(some[0][key], np.float32) for key in SHARED})
        for key in CURVES:
            values = np.array([row[key] for row in some], float)
            with np.errstate(over="ignore"):  # an estimate beyond all measure is infinite
                arrays[f"{name}/{key}"] = np.where(np.isnan(values), np.inf, values).astype(np.float16)
    header = {
        "format": FORMAT,
        "recipe": recipe,
        "groups": [
            {"name": name, "data": some[0]["data"], "longer": some[0]["longer"]} for name, some in groups.items()
        ],
        "architectures": [choices_of(architecture) for architecture in architectures],
    }
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with whole(path) as temporary:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]


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
