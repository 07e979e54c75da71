"""Evaluation: a model's maps of whole images against the truth, by the figures of its task."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from nni_count.comparing.models import networks
from nni_count.comparing.models import table as table_of
from nni_count.data import DataSetting, open_data
from nni_count.data.images import check_whole
from nni_count.data.origin import notes
from nni_count.data.pixels import normalise
from nni_count.data.sample import Sample
from nni_count.data.views import check_views
from nni_count.errors import DataError, SettingError
from nni_count.model import Estimator, Model
from nni_count.model.inference import Inference
from nni_count.networks.whole_image import whole_map
from nni_count.pictures.estimates import Estimate, draw_estimates
from nni_count.runs.describe import describe
from nni_count.runs.files import write_text
from nni_count.runs.run import open_run
from nni_count.runs.tables import GrowingTable
from nni_count.tasks.task import Figures, Task, create_task, mean

WORST, MEDIAN = 3, 2
#: what a report says beside the figures of its task
GENERAL = (
    *("groups", "main_metric", "larger_is_better", "parameters", "flops", "seconds_per_image", "views", "images"),
    *("regions", "network", "model", "taken_over", "differs", "trained_on", "each"),
)


def evaluate(
    *,
    model: Sequence[str | Path | Estimator] | str | Path | Estimator,
    data: DataSetting,
    out: str | Path | None = None,
    split: str = "test",
    views: int = 1,
    compute: Inference = Inference(),
    task_class: type[Task] | None = None,
) -> dict[str, Any]:
    """Judge a model on whole images, by the figures of its task.

    Args:
        model: a ``model.safetensors``, what ``nni-count export`` made of one, or a model; or several, e.g. of three
            seeds: those that differ in the seed alone are one network, whose mean and deviation are told, and the
            others beside the first on the same images.
        data: folder of a data set, or ``synthetic``; with settings of its reader as
            ``{"path": ..., "max_side": 1024}``.
        out: run folder; gets ``evaluation.json``, ``per_image.csv`` and ``worst.png``; of several models a folder each,
            by its number, and ``networks.json``. Without one nothing is written.
        split: the part of the data set.
        views: of an image whose maps are averaged: 1; 2, it and its mirror image; or 8, both turned by quarters.
        compute: on what the model estimates, and in tiles of what size.
        task_class: the class of the model's task, by dotted path, where it is of no installed package: a model file has
            nothing imported.

    Returns:
        What ``evaluation.json`` holds: the task's figures, for counting ``mae`` and ``rmse`` with their bootstrap
        intervals, ``nae``, ``game0`` … ``game3``, ``by_density``, ``constant_mae`` (of always answering the training
        mean), ``psnr`` and ``ssim`` by ``map_protocol``, and ``maps`` by each of
        :data:`nni_count.metrics.maps.MAP_PROTOCOLS`; for samples with a group (WorldExpo's scenes)
        ``groups`` with the figures of each, and the mean of their main metric, ``group_mae``; ``parameters``,
        ``network`` (name and settings), ``regions`` (images with a region of interest, outside which nothing counts),
        ``flops`` (2 × multiply-adds, mean of an image; null of an exported model), ``seconds_per_image`` (reading of
        the file left out), and how they were obtained: ``taken_over``, the settings of the data that come from the
        model, ``differs``, those that are not as in its training, and ``trained_on``, how many of the images it has
        learned from or was chosen by (null where its file does not tell);
        ``each``, the main metric of every image. Of several models ``networks``
        (:func:`nni_count.comparing.models.networks`) and their ``reports``.
    """
    settings: dict[str, Any] = {
        "model": model,
        "data": data,
        "split": split,
        "views": views,
        "compute": compute,
        "task_class": task_class,
    }
    check_views(views)
    if isinstance(model, (list, tuple)):
        return _several([compute.ready(one) for one in model], out, settings)
    model = compute.ready(cast("str | Path | Estimator", model))
    dataset, taken_over, differs = model.origin.reopen(data) if model.origin else (open_data(data), {}, {})
    samples, task = dataset.samples(split), model.task
    met = None if model.origin is None else model.origin.met(dataset, samples)
    for line in notes(taken_over, differs, met or [], len(samples), split):
        warnings.warn(line, stacklevel=2)
    # of the data set's own training images, else of those the model was trained on
    prior = task.prior(dataset.samples("train")) if "train" in dataset.splits else model.facts
    run = None if out is None else open_run(out, "evaluate", settings)

    growing = None if run is None else GrowingTable(run.folder / "per_image.csv", ["name"])
    rows, seconds = [], []
    for sample in tqdm(samples, "evaluating", unit="image", leave=False, disable=None):  # at a terminal alone
        row, took = judge(model, sample, views)
        rows.append(row)
        seconds.append(took)
        if growing is not None:
            named = {"name": sample.name, **row, "seconds": took}
            growing.add({name: f"{v:.4f}" if isinstance(v, float) else v for name, v in named.items()})
    report: dict[str, Any] = {
        **task.summarise(rows, prior),
        **_by_group(model, samples, rows, prior),
        "main_metric": task.main_metric,
        "larger_is_better": task.larger_is_better,
        "parameters": model.parameters,
        "flops": views * _flops(model, samples) if isinstance(model, Model) else None,
        "seconds_per_image": float(np.mean(seconds[1:] or seconds)),  # the first one warms up
        "views": views,
        "images": len(rows),
        "regions": sum(sample.roi is not None for sample in samples),
        "data": dataset.name,
        "split": split,
        "taken_over": taken_over,
        "differs": differs,
        "trained_on": None if met is None else len(met),
        "each": [task.summarise([row], prior)[task.main_metric] for row in rows],
        "task": describe(task),
        "network": {"name": model.name, "settings": model.settings},
        "model": model.facts,
    }
    if run is not None:
        _draw(model, samples, report["each"], views, run.folder / "worst.png")
        write_text(run.folder / "evaluation.json", json.dumps(report, indent=2) + "\n")
    return report


def table(report: dict[str, Any]) -> str:
    """The figures of a report, or those of several, as a person reads them."""
    if reports := report.get("reports"):
        return table_of(report["networks"], reports[0]["main_metric"], reports[0]["images"])
    task = create_task(report["task"]["class_path"], report["task"]["init_args"], of_file=True)
    groups, of_groups = report.get("groups", {}), f"group_{task.main_metric}"
    figures = {name: value for name, value in report.items() if name not in (*GENERAL, of_groups)}
    metric = task.main_metric.upper()
    regions = f", {report['regions']} of them inside a region of interest alone" if report["regions"] else ""
    views = f", the mean of {report['views']} views" if report.get("views", 1) > 1 else ""
    met, settings = report.get("trained_on"), ", ".join(f"{n} {v}" for n, v in report.get("taken_over", {}).items())
    lines = [
        ("data", f"{report['data']}, {report['split']}: {report['images']} images{regions}"),
        *([("as trained", settings)] if settings else []),
        (
            "trained on",
            "unknown: the model does not tell" if met is None else f"{met} of these {report['images']} images",
        ),
        *task.lines(figures),
        *(
            (f"{metric} {name}", f"{row[task.main_metric]:.2f}   ({row['images']} images)")
            for name, row in groups.items()
        ),
        *([(f"{metric} mean", f"{report[of_groups]:.2f}   (of those {len(groups)} groups)")] if groups else []),
        ("parameters", f"{report['parameters']:,}"),
        *([("FLOPs", f"{report['flops'] / 1e9:.1f} G an image")] if report["flops"] else []),
        ("seconds", f"{report['seconds_per_image']:.3f} an image{views}"),
    ]
    words = task.beside_constant(report[task.main_metric], report.get(f"constant_{task.main_metric}"))
    return "\n".join([*(f"{name:<12} {value}" for name, value in lines), *([words] if words else [])])


def _several(models: list[Estimator], out: str | Path | None, settings: dict[str, Any]) -> dict[str, Any]:
    """The reports of several models, and what their networks differ by."""
    metrics = {one.task.main_metric for one in models}
    if len(metrics) != 1:
        raise SettingError(f"model: {', '.join(sorted(metrics)) or 'none'}; give models of one task")
    folder = None if out is None else open_run(out, "evaluate", settings).folder
    folders = [folder and folder / str(number) for number in range(1, len(models) + 1)]
    reports = [evaluate(**{**settings, "model": one, "out": to}) for one, to in zip(models, folders, strict=True)]
    rows = networks(reports, [getattr(one, "architecture", None) for one in models])
    if folder:
        write_text(folder / "networks.json", json.dumps(rows, indent=2) + "\n")
    return {"networks": rows, "reports": reports}


def judge(model: Estimator, sample: Sample, views: int) -> tuple[Figures, float]:
    """The figures of an image, and how long it took, in seconds."""
    word = check_whole(sample.path) if sample.path else ""
    if word:
        warnings.warn(f"{sample.path}: {word}", stacklevel=3)
    image = sample.read()
    start = time.perf_counter()
    try:
        estimate = model.estimate(image, views)
    except DataError as error:
        raise DataError(f"{sample.source}: {error}") from error
    seconds = time.perf_counter() - start
    known = estimate, sample, image.shape[:2]
    return {**model.task.measure(*known), **model.task.examine(*known)}, seconds


def _by_group(model: Estimator, samples: list[Sample], rows: list[Figures], prior: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of each group, such as a scene, and the mean of the main ones; nothing where there are none."""
    groups: dict[str, list[Figures]] = {}
    for sample, row in zip(samples, rows, strict=True):
        if sample.group is not None:
            groups.setdefault(sample.group, []).append(row)
    figures = {name: {**model.task.summarise(chosen, prior), "images": len(chosen)} for name, chosen in groups.items()}
    metric = model.task.main_metric
    return {"groups": figures, f"group_{metric}": mean([row[metric] for row in figures.values()])} if figures else {}


def _flops(model: Model, samples: list[Sample]) -> float:
    """Counted on the first image; they grow with the pixels, so the mean follows from the sizes."""
    pixels = [int(np.prod(sample.read().shape[:2])) for sample in samples[:20]]
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        whole_map(model.network, normalise(samples[0].read()))
    flops: float = counter.get_total_flops() * float(np.mean(pixels)) / pixels[0]
    return flops


def _draw(model: Estimator, samples: list[Sample], alone: list[Any], views: int, path: Path) -> None:
    task = model.task
    order = sorted((i for i, figure in enumerate(alone) if figure is not None), key=lambda i: float(alone[i]))
    order = order if task.larger_is_better else order[::-1]
    worst = order[:WORST]
    middle = [index for index in order[len(order) // 2 :][:MEDIAN] if index not in worst]
    chosen = [(f"worst {n}", i) for n, i in enumerate(worst, 1)] + [(f"median {n}", i) for n, i in enumerate(middle, 1)]
    estimates = []
    for label, index in chosen:
        sample, image = samples[index], samples[index].read()
        estimate = model.estimate(image, views)
        panels = task.panels(estimate, sample, image.shape[:2])
        estimates.append(Estimate(sample.name, image, panels, label))
    if estimates:
        draw_estimates(estimates, path, task.unit)
