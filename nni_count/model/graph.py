"""A trained model as a graph for other runtimes: made, checked against the model, and only then written."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nni_count.data.pixels import MEAN, STD
from nni_count.data.synthetic import CrowdStream
from nni_count.errors import ModelError, SettingError
from nni_count.model.exported import IMAGE, INSTALL, MAP, ExportedModel
from nni_count.model.header import first_line, write_header
from nni_count.model.trained import Model

#: of ONNX, which ONNX Runtime 1.14 and OpenVINO 2023 and later know
OPSET = 18
#: height and width of the images on which a graph is compared with its model
SIZES = ((64, 96), (37, 53), (131, 97), (1, 3), (209, 400))
#: by how much a graph may differ: of the largest value of a map, at least :data:`SMALLEST`, and of what is read from it
TOLERANCE, SMALLEST = 1e-4, 1e-3


class Graph(nn.Module):
    """``(H, W, 3)`` uint8 RGB → the estimated maps ``(K, h, w)``, and what the task reads from them, scalars.

    Pixels are normalised, padded to what the network needs by repeating the border, and the map is cropped back.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: Model):
        super().__init__()
        self.network, self.task = model.network.traceable(), model.task
        self.stride, self.multiple = model.network.map_stride, model.network.multiple
        self.register_buffer("mean", 255 * torch.tensor(MEAN)[:, None, None])
        self.register_buffer("deviation", 255 * torch.tensor(STD)[:, None, None])

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        height, width = image.shape[0], image.shape[1]
        pixels = (image.permute(2, 0, 1).float() - self.mean) / self.deviation
        missing = (0, -width % self.multiple, 0, -height % self.multiple)
        maps = self.network(F.pad(pixels[None], missing, mode="replicate"))
        rows, columns = ((side + self.stride - 1) // self.stride for side in (height, width))
        estimate = self.task.estimate(maps[..., :rows, :columns], self.stride)[0]
        return estimate, *self.task.in_graph(estimate).values()


def export_onnx(model: Model, path: Path) -> None:
    """Write a model as an ONNX graph of dynamic height and width; its own header travels with it.

    Raises:
        SettingError: onnx is not installed, or the network or task has operations that ONNX has not.
    """
    with needed():
        import onnx
    image = torch.zeros(*(side * model.network.multiple + 1 for side in (3, 2)), 3, dtype=torch.uint8)
    names = list(model.task.in_graph(torch.zeros(model.task.out_channels, 1, 1)))
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of what is traced, which is checked here
            torch.onnx.export(
                torch.jit.trace(Graph(model).eval(), image, check_trace=False),  # type: ignore[no-untyped-call]
                (image,),
                path,
                input_names=[IMAGE],
                output_names=[MAP, *names],
                dynamic_axes={IMAGE: {0: "height", 1: "width"}, MAP: {1: "rows", 2: "columns"}},
                opset_version=OPSET,
                dynamo=False,  # it takes seconds for each network, and knows no loops
            )
    except Exception as error:  # the exporter's, or what a network or task of one's own raises
        raise SettingError(f"network {model.name}: cannot be exported to ONNX ({first_line(error)})") from error
    made = onnx.load(path)
    onnx.helper.set_model_props(made, _texts(model, names))
    onnx.save(made, path)


def export_openvino(graph: Path, path: Path) -> None:
    """Write an ONNX graph that :func:`export_onnx` made as OpenVINO's: ``.xml``, and the weights in ``.bin`` beside it.

    Raises:
        SettingError: onnx or openvino are not installed.
    """
    with needed():
        import onnx
        import openvino
    made = openvino.convert_model(graph)
    for prop in onnx.load(graph, load_external_data=False).metadata_props:
        made.set_rt_info(prop.value, ["nni_count", prop.key])
    openvino.save_model(made, path, compress_to_fp16=False)


def _texts(model: Model, names: list[str]) -> dict[str, str]:
    about = {
        "parameters": model.parameters,
        "multiple": model.network.multiple,
        "map_stride": model.network.map_stride,
        "max_side": model.max_side,
        "reach": model.reach,
        "opset": OPSET,
        "outputs": [MAP, *names],
    }
    return {**write_header(model), "export": json.dumps(about)}


def largest_difference(model: Model, exported: ExportedModel) -> dict[str, float]:
    """By how much an exported model differs from what it was made of, on images of :data:`SIZES`: ``map``, of the
    largest value of a map, and ``numbers``, of what is read from it (at least 1).

    Raises:
        ModelError: that is more than :data:`TOLERANCE`.
    """
    height, width = (max(sides) for sides in zip(*SIZES, strict=True))
    scene = CrowdStream(size=(height, width)).take(1)[0].read()
    found = {"map": 0.0, "numbers": 0.0}
    for height, width in SIZES:
        image = np.ascontiguousarray(scene[-height:, :width])
        ours, read = model.estimate(image), exported.graph(image)
        theirs = read[MAP]
        if ours.shape != theirs.shape:
            raise ModelError(f"the exported graph gives a map of {theirs.shape} where the model gives {ours.shape}")
        pairs = [(float(ours.sum()), float(theirs.sum()))]  # a count may be 0 where the map's sum is less
        pairs += [(value, float(read[name])) for name, value in model.task.numbers(ours).items() if name in read]
        numbers = [abs(one - other) / max(1.0, abs(one)) for one, other in pairs]
        map_off = np.abs(ours - theirs).max() / max(SMALLEST, np.abs(ours).max())
        off = {"map": float(map_off), "numbers": max(numbers)}
        found = {name: float(np.maximum(found[name], off[name])) for name in found}  # keeps what is no number
    if not all(off <= TOLERANCE for off in found.values()):
        differs = ", ".join(f"{name} by {off:.2g}" for name, off in found.items())
        raise ModelError(f"is not exported: the graph differs from the model ({differs}; {TOLERANCE:g} is let through)")
    return found


@contextmanager
def needed() -> Iterator[None]:
    """Say what is to be installed where an import fails."""
    try:
        yield
    except ImportError as error:
        raise SettingError(f"export: needs {error.name}, which is not installed; {INSTALL}") from error
