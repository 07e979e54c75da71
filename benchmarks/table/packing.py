"""The table's file, made from its rows, and rows from it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.table.architectures import FILE, choices_of, kept_architectures
from benchmarks.table.growing import RECIPE, Job, check_recipe, owner
from benchmarks.table.recipe import Recipe
from nni_count.architecture import Architecture
from nni_count.comparing.trained import CURVES, FORMAT, OURS, SHARED, architecture_of, edges_of, open_table
from nni_count.errors import RunError
from nni_count.runs.files import whole, write_text


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


def unpack(folder: Path, table: Path | None = None, *, recipe: Recipe | None = None, architectures: int = 400) -> str:
    """Write the rows of a table as files, so that it can be grown where there is nothing but it; says how many.

    Raises:
        RunError: another process grows the folder, it was begun with another recipe than ours, or the table was.
    """
    packed, recipe = open_table(table), recipe or Recipe()
    with owner(folder):
        check_recipe(folder, recipe)
        if json.loads((folder / RECIPE).read_text()) != packed.recipe:
            raise RunError(f"{table or OURS}: its rows were trained by another recipe; grow a new table")
        drawn = kept_architectures(folder, recipe, architectures)
        if [*map(edges_of, packed.architectures)] != [*map(edges_of, drawn[: len(packed.architectures)])]:
            raise RunError(f"{folder}: was begun with other architectures than {table or OURS}; give another folder")
        written = 0
        for row in packed.rows:
            job = Job(row.number, row.data, row.seed, row.longer)
            if not (folder / job.file).is_file():
                facts = {**asdict(job), "parameters": row.parameters, "flops": row.flops}
                arrays = {name: getattr(row, name).tolist() for name in (*SHARED, *CURVES)}
                write_text(folder / job.file, json.dumps({**facts, **arrays}))
                written += 1
    return f"{folder}: {written} rows written; python -m benchmarks.table grow --rows {folder} goes on"
