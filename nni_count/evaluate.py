"""Evaluation: a model's counts and maps on whole images, against the points."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from nni_count.data import open_data
from nni_count.data.dataset import Dataset
from nni_count.data.pixels import normalise
from nni_count.data.sample import Sample
from nni_count.drawing import Estimate, draw_estimates
from nni_count.files import whole, write_text
from nni_count.metrics import MAP_PROTOCOL, count_errors, map_quality, spread
from nni_count.model import Model, load_model, whole_map
from nni_count.run import open_run

WORST, MEDIAN = 3, 2


def evaluate(
    *,
    model: str | Path | Model,
    data: str | Path | Dataset,
    out: str | Path,
    split: str = "test",
    data_settings: dict[str, Any] | None = None,
    accelerator: str = "cpu",
) -> dict[str, Any]:
    """Judge a model on whole images: counts against the number of points, maps by a named protocol.

    Args:
        model: a ``model.safetensors``, or a model.
        data: folder of a data set, or ``synthetic``.
        out: run folder; gets ``evaluation.json``, ``per_image.csv`` and ``worst.png``.
        split: the part of the data set.
        data_settings: the reader's, e.g. ``format`` and ``outside``.
        accelerator: torch's device, e.g. ``cpu`` or ``cuda``.

    Returns:
        What ``evaluation.json`` holds: ``mae``, ``rmse``, ``psnr``, ``ssim``, ``constant_mae`` (of always answering
        the training mean), for samples with a group (WorldExpo's scenes) ``groups`` and ``group_mae``, the mean of
        theirs, ``parameters``, ``flops`` (2 × multiply-adds, mean of an image), ``seconds_per_image``
        (reading of the file left out), and how they were obtained.
    """
    settings = dict(locals())
    if not isinstance(model, Model):
        model = load_model(model, accelerator)
    dataset = open_data(data, **(data_settings or {}))
    samples = dataset.samples(split)
    training_mean = _training_mean(dataset, model)
    run = open_run(out, "evaluate", settings)

    rows = [_judge(model, sample) for sample in samples]
    truths = np.array([row["truth"] for row in rows], float)
    estimates = np.array([row["estimate"] for row in rows], float)
    seconds = [row["seconds"] for row in rows]
    report: dict[str, Any] = {
        **count_errors(estimates, truths),
        **_by_group(samples, estimates, truths),
        **{name: _mean([row[name] for row in rows if row[name] is not None]) for name in ("psnr", "ssim")},
        "constant_mae": None if training_mean is None else float(np.abs(truths - training_mean).mean()),
        "parameters": model.parameters,
        "flops": _flops(model, samples),
        "seconds_per_image": _mean(seconds[1:] or seconds),  # the first one warms up
        "images": len(rows),
        "people": int(truths.sum()),
        "data": dataset.name,
        "split": split,
        "map_protocol": MAP_PROTOCOL,
        "model": model.facts,
    }
    _write_rows(rows, run.folder / "per_image.csv")
    _draw(model, samples, rows, run.folder / "worst.png")
    write_text(run.folder / "evaluation.json", json.dumps(report, indent=2) + "\n")
    return report


def table(report: dict[str, Any]) -> str:
    """The figures of a report, as a person reads them."""
    constant = report["constant_mae"]
    lines = [
        ("data", f"{report['data']}, {report['split']}: {report['images']} images, {report['people']} people"),
        (
            "MAE",
            f"{report['mae']:.2f}" + (f"   (always the training mean: {constant:.2f})" if constant is not None else ""),
        ),
        *(
            (f"  {name}", f"{row['mae']:.2f}   ({row['images']} images)")
            for name, row in report.get("groups", {}).items()
        ),
        *([("mean of them", f"{report['group_mae']:.2f}")] if "groups" in report else []),
        ("RMSE", f"{report['rmse']:.2f}"),
        ("PSNR", "-" if report["psnr"] is None else f"{report['psnr']:.2f} dB"),
        ("SSIM", "-" if report["ssim"] is None else f"{report['ssim']:.3f}"),
        ("", report["map_protocol"]),
        ("parameters", f"{report['parameters']:,}"),
        ("FLOPs", f"{report['flops'] / 1e9:.1f} G an image"),
        ("seconds", f"{report['seconds_per_image']:.3f} an image"),
    ]
    return "\n".join(f"{name:<12}{value}" for name, value in lines)


def _judge(model: Model, sample: Sample) -> dict[str, Any]:
    image = sample.read()
    start = time.perf_counter()
    density = model.density(image)
    seconds = time.perf_counter() - start
    truth = sample.inside(model.task.truth(sample.points, image.shape[:2]))
    whole_size = sample.inside(spread(density, image.shape[:2]))
    quality = map_quality(whole_size, truth)
    return {
        "name": sample.name,
        "truth": sample.count,
        "estimate": float((density if sample.roi is None else whole_size).sum(dtype=np.float64)),
        **(quality or {"psnr": None, "ssim": None}),
        "seconds": seconds,
    }


def _by_group(samples: list[Sample], estimates: np.ndarray, truths: np.ndarray) -> dict[str, Any]:
    """The figures of each group, such as a scene, and the mean of their MAEs; nothing where samples have no group."""
    groups: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        if sample.group is not None:
            groups.setdefault(sample.group, []).append(index)
    rows = {
        name: {**count_errors(estimates[chosen], truths[chosen]), "images": len(chosen)}
        for name, chosen in groups.items()
    }
    return {"groups": rows, "group_mae": float(np.mean([row["mae"] for row in rows.values()]))} if rows else {}


def _training_mean(dataset: Dataset, model: Model) -> float | None:
    """The mean count of the data set's own training images, else of those the model was trained on."""
    if "train" in dataset.splits:
        return float(np.mean([sample.count for sample in dataset.samples("train")]))
    mean: float | None = model.facts.get("training_mean")
    return mean


def _flops(model: Model, samples: list[Sample]) -> float:
    """Counted on the first image; they grow with the pixels, so the mean follows from the sizes."""
    pixels = [int(np.prod(sample.read().shape[:2])) for sample in samples[:20]]
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        whole_map(model.network, normalise(samples[0].read()))
    flops: float = counter.get_total_flops() * float(np.mean(pixels)) / pixels[0]
    return flops


def _mean(values: list[float]) -> float | None:
    values = [value for value in values if np.isfinite(value)]
    return float(np.mean(values)) if values else None


def _write_rows(rows: list[dict[str, Any]], path: Path) -> None:
    columns = ("name", "truth", "estimate", "error", "psnr", "ssim", "seconds")
    with whole(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows:
            values = {**row, "error": row["estimate"] - row["truth"]}
            writer.writerow(
                [f"{values[name]:.4f}" if isinstance(values[name], float) else values[name] for name in columns]
            )


def _draw(model: Model, samples: list[Sample], rows: list[dict[str, Any]], path: Path) -> None:
    order = sorted(range(len(rows)), key=lambda index: -abs(rows[index]["estimate"] - rows[index]["truth"]))
    worst = order[:WORST]
    middle = [index for index in order[len(order) // 2 :][:MEDIAN] if index not in worst]
    chosen = [(f"worst {n}", i) for n, i in enumerate(worst, 1)] + [(f"median {n}", i) for n, i in enumerate(middle, 1)]
    estimates = []
    for label, index in chosen:
        sample, image = samples[index], samples[index].read()
        shape = image.shape[:2]
        truth = sample.inside(model.task.truth(sample.points, shape))
        estimate = sample.inside(spread(model.density(image), shape))
        estimates.append(Estimate(sample.name, image, truth, estimate, sample.count, rows[index]["estimate"], label))
    draw_estimates(estimates, path)
