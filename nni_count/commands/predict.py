"""Prediction: what a model reads from anybody's images, as a table and drawn over them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from tqdm import tqdm

from nni_count.commands.predict_results import Results
from nni_count.data.given import given_images, here
from nni_count.data.images import Windows, check_whole, read_image, scaled_down
from nni_count.data.rasters import Raster, is_large
from nni_count.data.video import Video, Watching, is_video
from nni_count.data.views import check_views
from nni_count.data.writers import chosen_writers, names_of
from nni_count.errors import DataError, Note, SettingError, Unread
from nni_count.model import Estimator
from nni_count.model.inference import Inference
from nni_count.model.named import LEARNT, OURS
from nni_count.runs.ahead import ahead
from nni_count.runs.ranges import Range, check
from nni_count.runs.run import open_run
from nni_count.runs.tables import rounded
from nni_count.tasks.counts import check_counts
from nni_count.tasks.task import Task

TOLD = 300  # letters of faults that fit into one line, which is cut where it is long


def predict(
    images: str | Path | Sequence[str | Path],
    *,
    model: str | Path | Estimator | None = None,
    out: str | Path | None = None,
    white: Annotated[int, Range(1, 65535)] | None = None,
    page: Annotated[int, Range(1)] | None = None,
    views: int = 1,
    maps: bool = False,
    points: str | Sequence[str] | None = None,
    regions: str | Path | None = None,
    metres_per_pixel: Annotated[float, Range(1e-9, 1e6)] | None = None,
    video: Watching = Watching(),
    compute: Inference = Inference(),
    task_class: type[Task] | None = None,
) -> list[dict[str, Any]]:
    """Estimate images, and draw what was estimated: count in them, where the model counts.

    An image that cannot be read does not keep the others from being estimated; it is named at the end. Of videos,
    streams and cameras every so many seconds a frame is estimated, and printed as a line of JSON.

    Args:
        images: image files and folders of images; or video files, addresses such as rtsp://camera/1, or devices such as
            /dev/video0.
        model: a ``model.safetensors``, what ``nni-count export`` made of one, or a model; or a name: ``crowds`` or
            ``cells``, which come with the package and learnt from synthetic images alone, or ``hf://owner/name`` of the
            Hugging Face Hub. ``crowds`` where none is given.
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
        regions: file of polygons by name, GeoJSON (in pixels; of a GeoTIFF in coordinates of its map) or LabelMe, or a
            mask of a value or colour each, of which ``out`` gets the counts in ``regions.csv``, and the outlines in
            overlays. A cell of the map at an edge counts by the share of it that lies inside.
        metres_per_pixel: of the images; tells how many are on a square metre of each, and of its regions. Of regions of
            a GeoTIFF in metres the file tells.
        video: how often videos are looked at, and over how long numbers are averaged.
        compute: on what the model estimates, and in tiles of what size.
        task_class: the class of the model's task, by dotted path, where it is of no installed package: a model file has
            nothing imported.

    Returns:
        For every image its ``image`` (path), the numbers that the task reads, here ``count``, where they are asked for
        ``regions`` with the same numbers each, and, where it is drawn, ``overlay`` (file name). Likewise for every
        frame of a ``video`` that was estimated, with its ``time`` in seconds.

    Raises:
        DataError: there is no image, or regions are not the images'; or some images could not be read
            (:class:`nni_count.errors.Unread`, which has the rows of the others; with ``out`` they are written before).
        SettingError: maps or points are asked for without ``out``, points or regions of a model that counts nothing, or
            a setting is out of its range.
    """
    images = images if isinstance(images, (str, Path)) else list(images)
    settings: dict[str, Any] = {
        "images": images,
        "model": model,
        "white": white,
        "page": page,
        "views": views,
        "maps": maps,
        "points": points,
        "regions": regions,
        "metres_per_pixel": metres_per_pixel,
        "video": video,
        "compute": compute,
        "task_class": task_class,
    }
    check_views(views)
    check(predict, {"white": white, "page": page, "metres_per_pixel": metres_per_pixel})
    for name in (name for name, asked in (("maps", maps), ("points", points)) if asked and out is None):
        raise SettingError(f"{name}: are written into --out; give that folder too, or leave {name} out")
    formats = chosen_writers(points) if points else []
    sources = [here(one) for one in ([images] if isinstance(images, (str, Path)) else images)]
    videos, watched = [Video(str(source)) for source in sources if is_video(source)], video.seconds
    for name in (name for name, wrong in (("maps", maps), ("points", points)) if wrong and videos):
        raise SettingError(f"{name}: are of images, and {videos[0].name} is a video; leave {name} out")
    if videos and len(videos) < len(sources):
        raise SettingError(f"images: {videos[0].name} is a video, and others are none; give one kind in a call")
    paths = [] if videos else given_images(sources)
    if model is None:
        model = OURS[0]
        warnings.warn(Note(f"no --model is given: {model} is taken, {LEARNT}"), stacklevel=2)
    model = compute.ready(model)
    task = model.task
    for name in (name for name in ("points", "regions", "metres_per_pixel") if settings[name]):
        check_counts(task, name)
    reading = {**model.reading, **{name: n for name, n in (("white", white), ("page", page)) if n is not None}}
    for line in _notes(model, reading):
        warnings.warn(line, stacklevel=2)
    survey = None
    if regions or metres_per_pixel:
        from nni_count.tasks.regions import Survey  # here, since most need no polygons

        survey = Survey(task, model.map_stride, model.max_side, regions, metres_per_pixel)
        survey.check(paths, reading["page"])
    run = None if out is None else open_run(out, "predict", settings)
    if videos:
        from nni_count.commands.predict_video import watch  # likewise

        return watch(videos, model, *watched, views, survey, None if run is None else run.folder)
    results = None if run is None else Results(run.folder, model, names_of(paths), formats, maps, survey)
    rows: list[dict[str, Any]] = []
    faults: list[str] = []
    words: list[str] = []
    taking = ahead(partial(_taken, white=reading["white"], page=reading["page"]), paths)
    shown = tqdm(taking, "estimating", total=len(paths), unit="image", leave=False, disable=None)  # at a terminal alone
    for path, read in zip(paths, shown, strict=True):
        try:
            word, whole_image = read()
            image = scaled_down(whole_image, model.max_side)
            estimate = model.map(image, views)
        except DataError as error:
            faults.append(str(error) if str(path) in str(error) else f"{path}: {error}")
            continue
        words += [f"{path}: {word}"] if word else []
        shape = (whole_image.shape[0], whole_image.shape[1])
        found = task.numbers(estimate) | (survey.whole(path, shape, estimate) if survey else {})
        row: dict[str, Any] = {"image": str(path)} | rounded(found)
        if survey and regions:
            row["regions"] = [rounded(region) for region in survey.regions(path, shape, estimate)]
        if results is not None:
            results.add(row, path, image, shape, estimate)
        rows.append(row)
    for line in words:  # not while the reader is at work, which silences what PIL says for the whole process
        warnings.warn(line, stacklevel=2)
    if results is not None:
        results.finish(rows)
    if faults:
        others = "" if run is None or not rows else f", the others are in {out}"
        told = "; ".join(faults)
        if len(told) > TOLD:
            for fault in faults:
                warnings.warn(fault, stacklevel=2)
            told = "each is named above"
        raise Unread(f"{len(faults)} of {len(paths)} images were not estimated{others}: {told}", rows)
    return rows


def _taken(path: Path, white: int | None, page: int | None) -> tuple[str, np.ndarray | Windows]:
    """What should be known of an image file, and its pixels."""
    if is_large(path):
        raster = Raster(path, white, page)
        return raster.note, raster
    return check_whole(path), read_image(path, oriented=True, white=white, page=page)


def _notes(model: Estimator, reading: dict[str, int | None]) -> Iterator[str | Note]:
    """How images are read, where that is not the usual way."""
    side = [] if model.max_side is None else [f"at most {model.max_side} pixels a side"]
    trained = [f"{name} {value}" for name, value in model.reading.items() if value is not None]
    if side or trained:
        yield Note(f"as the model was trained: images with {', '.join(side + trained)}")
    for name, value in model.reading.items():
        if model.origin and value != reading[name]:
            yield f"{name}: {reading[name]} is given, but the model was trained with {value or 'none'}"
