"""Export: a model as a graph that other runtimes compute, checked before it is written."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

from nni_count.commands.evaluate import judge
from nni_count.data import DataSetting, open_data
from nni_count.data.sample import Sample
from nni_count.errors import SettingError
from nni_count.model import Model, load_exported, load_trained
from nni_count.model.exported import beside
from nni_count.model.graph import OPSET, SIZES, export_onnx, export_openvino, largest_difference
from nni_count.model.quantising import quantise
from nni_count.model.seal import sealed
from nni_count.runs.files import whole
from nni_count.runs.ranges import Range, check
from nni_count.runs.run import open_run
from nni_count.tasks.judging import main_figure

JUDGED = 64  # images at most of which the error is told before and after


def export(
    *,
    model: str | Path | Model,
    out: str | Path,
    to: Literal["onnx", "openvino"] = "onnx",
    precision: Literal["float32", "int8"] = "float32",
    data: DataSetting | None = None,
    split: str = "train",
    calibration: Annotated[int, Range(1, 1000)] = 16,
) -> dict[str, Any]:
    """Write a model as a graph for ONNX Runtime or OpenVINO: an image of any size in, its map and count out.

    The graph is compared with the model on images of five sizes, and written only where they agree.
    ``nni_count.load_model``, ``predict`` and ``evaluate`` take it as they take the model.

    Args:
        model: a ``model.safetensors``, or a model.
        out: folder; gets ``model.onnx``, or ``model.xml`` and ``model.bin``.
        to: the runtime, ``onnx`` or ``openvino``.
        precision: ``float32``, or ``int8``: convolutions of whole numbers, whose ranges come from images of ``data``.
        data: for ``int8``: folder of a data set, or ``synthetic``, read as the model was trained.
        split: the part of the data set.
        calibration: how many of its images, evenly spread, set the ranges; of the others, at most 64, the error is told
            before and after.

    Returns:
        ``files``, ``bytes`` and ``opset`` of what was written, the ``outputs`` of the graph, ``difference``: the
        largest ones of maps and of what is read from them, before anything is rounded to ``int8``; and for that
        ``metric``, ``before``, ``after`` and ``images``, how good it is, where images are left to tell it.

    Raises:
        ModelError: the graph does not give what the model gives, or the model cannot be read; nothing is written.
        SettingError: the network or task has operations that the format has not, a package is missing, or ``int8`` is
            asked for without ``data``.
    """
    check(export, {"calibration": calibration})
    if to not in ("onnx", "openvino") or precision not in ("float32", "int8"):
        raise SettingError(f"to, precision: {to!r}, {precision!r}; choose onnx or openvino, float32 or int8")
    if (precision == "int8") != (data is not None):
        raise SettingError("data: --precision int8 finds its ranges in images; give --data with it, and only with it")
    given = {"model": model, "to": to, "precision": precision, "data": data, "split": split, "calibration": calibration}
    if not isinstance(model, Model):
        model = load_trained(model)
    with tempfile.TemporaryDirectory() as place:
        graph = Path(place, "model.onnx")
        export_onnx(model, graph)
        report: dict[str, Any] = {"difference": largest_difference(model, load_exported(graph)), "opset": OPSET}
        chosen: list[Sample] = []
        if data is not None:
            chosen = (model.origin.reopen(data)[0] if model.origin else open_data(data)).samples(split)
            calibrating = {n * len(chosen) // calibration for n in range(calibration)}
            quantise(graph, [chosen[n].read() for n in sorted(calibrating)])
            chosen = [sample for n, sample in enumerate(chosen) if n not in calibrating][:JUDGED]
            if not chosen:
                told = f"{len(calibrating)} images set the ranges, and none is left to tell the error on"
                warnings.warn(f"calibration: {told}; give a smaller number, or more images", stacklevel=2)
        if to == "openvino":
            export_openvino(graph, graph := graph.with_suffix(".xml"))
        exported = load_exported(graph)
        if to == "openvino" and data is None:
            report["difference"] = largest_difference(model, exported)
        if chosen:
            figures = ([judge(one, sample, 1)[0] for sample in chosen] for one in (model, exported))
            before, after = (main_figure(model.task, rows) for rows in figures)
            report |= {"metric": model.task.main_metric, "before": before, "after": after, "images": len(chosen)}
        run = open_run(out, "export", given)
        files = [file for file in (graph.with_suffix(".bin"), graph) if file.is_file()]
        for file in files:
            with whole(run.folder / file.name) as temporary:
                content = file.read_bytes()
                temporary.write_bytes(sealed(content, beside(file)) if file == graph else content)
        sizes = sum(file.stat().st_size for file in files)
    return {"files": [file.name for file in files], "bytes": sizes, "outputs": exported.export["outputs"], **report}


def table(report: dict[str, Any]) -> str:
    """What was written, as a person reads it."""
    size = f"{report['bytes'] / 1e6:.2f} MB, opset {report['opset']}"
    off = ", ".join(f"{name} {value:.1e}" for name, value in report["difference"].items())
    lines = [
        ("written", f"{', '.join(report['files'])}: {size}, image (H, W, 3) uint8 -> {', '.join(report['outputs'])}"),
        ("difference", f"{off} at most, on images of {len(SIZES)} sizes"),
    ]
    if "metric" in report:
        figures = f"{report['before']:.3f} -> {report['after']:.3f} ({report['after'] - report['before']:+.3f})"
        lines.append((f"{report['metric'].upper()}", f"{figures} on {report['images']} images"))
    return "\n".join(f"{name:<12} {value}" for name, value in lines)
