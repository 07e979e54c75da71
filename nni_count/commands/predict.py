"""Prediction: what a model reads from anybody's images, as a table and drawn over them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from tqdm import tqdm

from nni_count.data.files import is_image, natural
from nni_count.data.images import IMAGE_SUFFIXES, check_whole, read_image, scaled_down
from nni_count.data.writers import Marked, chosen_writers, names_of
from nni_count.errors import DataError, Note, SettingError
from nni_count.model import Model, load_model
from nni_count.networks.devices import find_device
from nni_count.networks.whole_image import check_views
from nni_count.runs.files import free_name, whole, write_image, write_text
from nni_count.runs.ranges import Range, check
from nni_count.runs.run import open_run
from nni_count.runs.tables import GrowingTable
from nni_count.tasks.peaks import check_counts, find_points
from nni_count.tasks.task import Task


def predict(
    images: str | Path | Sequence[str | Path],
    *,
    model: str | Path | Model,
    out: str | Path | None = None,
    white: Annotated[int, Range(1, 65535)] | None = None,
    page: Annotated[int, Range(1)] | None = None,
    views: int = 1,
    maps: bool = False,
    points: str | Sequence[str] | None = None,
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
        white: the value that is white in images of 16 bits, such as 4095; as the model was trained where not given.
        page: of files that have several, from 1; likewise.
        views: of an image whose maps are averaged: 1; 2, it and its mirror image; or 8, both turned by quarters.
        maps: whether ``out`` gets the estimated maps too, an ``.npy`` file ``(K, h, w)`` float32 for each image, in the
            task's unit.
        points: forms in which ``out`` gets the points that the model sees, each with its share of the count: ``csv``,
            ``labelme`` and ``coco``, which the readers of data sets take, and ``geojson``; several with commas between
            them. See :meth:`nni_count.Model.points`.
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
        SettingError: maps or points are asked for without ``out``, points of a model that counts nothing, or a setting
            is out of its range.
    """
    settings: dict[str, Any] = {
        "images": images,
        "model": model,
        "white": white,
        "page": page,
        "views": views,
        "maps": maps,
        "points": points,
        "accelerator": accelerator,
        "task_class": task_class,
    }
    check_views(views)
    check(predict, {"white": white, "page": page})
    for name in (name for name, asked in (("maps", maps), ("points", points)) if asked and out is None):
        raise SettingError(f"{name}: are written into --out; give that folder too, or leave {name} out")
    formats = chosen_writers(points) if points else []
    paths = _find([images] if isinstance(images, (str, Path)) else images)
    device = find_device(accelerator, devices)
    if not isinstance(model, Model):
        model = load_model(model, device)
    task = model.task
    if points:
        check_counts(task, "points")
    reading = {**model.reading, **{name: n for name, n in (("white", white), ("page", page)) if n is not None}}
    for line in _notes(model, reading):
        warnings.warn(line, stacklevel=2)
    run = None if out is None else open_run(out, "predict", settings)
    table = None if run is None else GrowingTable(run.folder / f"{task.noun}s.csv", ["image", "overlay"])
    writers = [] if run is None else [writer(run.folder) for writer in formats]
    names = names_of(paths)
    rows: list[dict[str, Any]] = []
    faults: list[str] = []
    taken: set[str] = set()
    for path in tqdm(paths, "estimating", unit="image", leave=False, disable=None):  # at a terminal alone
        try:
            word = check_whole(path)
            whole_image = read_image(path, oriented=True, **reading)
            image = scaled_down(whole_image, model.max_side)
            estimate = model.map(image, views)
        except DataError as error:
            faults.append(str(error) if str(path) in str(error) else f"{path}: {error}")
            continue
        if word:
            warnings.warn(f"{path}: {word}", stacklevel=2)
        row: dict[str, Any] = {"image": str(path)}
        row |= {name: _rounded(value) for name, value in task.numbers(estimate).items()}
        if run is not None and table is not None:
            row["overlay"] = free_name(path.stem, f"_{task.noun}.jpg", taken)
            write_image(run.folder / row["overlay"], task.draw(image, estimate))
            if maps:
                with whole((run.folder / row["overlay"]).with_suffix(".npy")) as temporary:
                    np.save(temporary, estimate)
            if writers:
                shape = whole_image.shape[:2]
                found = find_points(task, estimate, model.network.map_stride, shape, model.max_side)
                for writer in writers:
                    writer.add(Marked(path, names[path], (shape[1], shape[0]), found))
            table.add(row)
        rows.append(row)
    for writer in writers:
        writer.finish()
    if run is not None:
        write_text(run.folder / f"{task.noun}s.json", json.dumps(rows, indent=2) + "\n")
    if faults:
        others = "" if run is None or not rows else f", the others are in {out}"
        raise DataError(f"{len(faults)} of {len(paths)} images were not estimated{others}: " + "; ".join(faults))
    return rows


def _rounded(value: float) -> float:
    """To hundredths, and what is smaller than one to four digits."""
    return round(value, 2) if abs(value) >= 1 else float(f"{value:.4g}")


def _notes(model: Model, reading: dict[str, int | None]) -> Iterator[str | Note]:
    """How images are read, where that is not the usual way."""
    side = [] if model.max_side is None else [f"at most {model.max_side} pixels a side"]
    trained = [f"{name} {value}" for name, value in model.reading.items() if value is not None]
    if side or trained:
        yield Note(f"as the model was trained: images with {', '.join(side + trained)}")
    for name, value in model.reading.items():
        if model.origin and value != reading[name]:
            yield f"{name}: {reading[name]} is given, but the model was trained with {value or 'none'}"


def _find(images: Sequence[str | Path]) -> list[Path]:
    found: list[Path] = []
    for entry in map(Path, images):
        if entry.is_dir():
            inside = sorted(entry.iterdir(), key=lambda path: natural(path.name))
            taken = [path for path in inside if is_image(path) and path.is_file()]
            left = [path.name + "/" * path.is_dir() for path in inside if path not in taken]
            some = f"{', '.join(left[:5])}{' …' if len(left) > 5 else ''}"
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            if not taken:
                raise DataError(
                    f"{entry}: holds no images ({kinds}){f', but {some}' if left else ''}; check the folder"
                )
            if left:
                what = f"{len(left)} left out ({some}); files directly in the folder are read, of the kinds {kinds}"
                warnings.warn(f"{entry}: {what}", stacklevel=3)
            found += taken
        elif entry.is_file():
            found.append(entry)
        else:
            raise DataError(f"{entry}: no such file or folder; check the path")
    return found
