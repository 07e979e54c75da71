"""Prediction: what a model reads from anybody's images, as a table and drawn over them."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nni_count.data.images import read_image, scaled_down
from nni_count.errors import DataError, Note
from nni_count.model import Model, load_model
from nni_count.networks.devices import find_device
from nni_count.networks.whole_image import check_views
from nni_count.runs.files import write_image, write_text
from nni_count.runs.run import open_run
from nni_count.runs.tables import GrowingTable
from nni_count.tasks.task import Task

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}


def predict(
    images: str | Path | Sequence[str | Path],
    *,
    model: str | Path | Model,
    out: str | Path | None = None,
    views: int = 1,
    accelerator: str = "auto",
    devices: int = 1,
    task_class: type[Task] | None = None,
) -> list[dict[str, Any]]:
    """Estimate images, and draw what was estimated: count in them, where the model counts.

    An image that cannot be read does not keep the others from being estimated; it is named at the end.

    Args:
        images: image files and folders of images.
        model: a ``model.safetensors``, or a model.
        out: folder; gets ``counts.csv``, row by row, ``counts.json`` and an overlay for every image. Another task than
            counting has its own noun in place of ``count``. Without one nothing is drawn or written.
        views: of an image whose maps are averaged: 1; 2, it and its mirror image; or 8, both turned by quarters.
        accelerator: ``auto``, ``cpu``, ``gpu`` …, as Lightning has them; a model that is given stays where it is.
        devices: how many of them: 1.
        task_class: the class of the model's task, by dotted path, where it is of no installed package: a model file has
            nothing imported.

    Returns:
        For every image its ``image`` (path), the numbers that the task reads, here ``count``, and, where it is drawn,
        ``overlay`` (file name).

    Raises:
        DataError: there is no image, or some could not be read; the others are estimated and, with ``out``, written
            before.
    """
    settings: dict[str, Any] = {
        "images": images,
        "model": model,
        "views": views,
        "accelerator": accelerator,
        "task_class": task_class,
    }
    check_views(views)
    paths = _find([images] if isinstance(images, (str, Path)) else images)
    device = find_device(accelerator, devices)
    if not isinstance(model, Model):
        model = load_model(model, device)
    task = model.task
    if model.max_side:
        warnings.warn(
            Note(f"as the model was trained: images have at most {model.max_side} pixels a side"), stacklevel=2
        )
    run = None if out is None else open_run(out, "predict", settings)
    table = None if run is None else GrowingTable(run.folder / f"{task.noun}s.csv", ["image", "overlay"])
    rows: list[dict[str, Any]] = []
    faults: list[str] = []
    taken: set[str] = set()
    for path in paths:
        try:
            image = scaled_down(read_image(path, oriented=True), model.max_side)
        except DataError as error:
            faults.append(str(error))
            continue
        estimate = model.map(image, views)
        row: dict[str, Any] = {"image": str(path)}
        row |= {name: round(value, 2) for name, value in task.numbers(estimate).items()}
        if run is not None and table is not None:
            row["overlay"] = _free_name(path.stem, task.noun, taken)
            write_image(run.folder / row["overlay"], task.draw(image, estimate))
            table.add(row)
        rows.append(row)
    if run is not None:
        write_text(run.folder / f"{task.noun}s.json", json.dumps(rows, indent=2) + "\n")
    if faults:
        others = "" if run is None else f", the others are in {out}"
        raise DataError(f"{len(faults)} of {len(paths)} images were not estimated{others}: " + "; ".join(faults))
    return rows


def _find(images: Sequence[str | Path]) -> list[Path]:
    found: list[Path] = []
    for entry in map(Path, images):
        if entry.is_dir():
            inside = sorted(path for path in entry.iterdir() if path.suffix.lower() in SUFFIXES)
            if not inside:
                raise DataError(f"{entry}: holds no images ({', '.join(sorted(SUFFIXES))}); check the folder")
            found += inside
        elif entry.is_file():
            found.append(entry)
        else:
            raise DataError(f"{entry}: no such file or folder; check the path")
    return found


def _free_name(stem: str, noun: str, taken: set[str]) -> str:
    """A name for the overlay that no other image of this call has."""
    stem = os.fsencode(stem)[:200].decode(errors="ignore")  # file systems have 255 bytes for a name
    name, number = f"{stem}_{noun}.jpg", 2
    while name in taken:
        name, number = f"{stem}_{number}_{noun}.jpg", number + 1
    taken.add(name)
    return name
