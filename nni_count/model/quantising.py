"""An exported graph in whole numbers of 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nni_count.model.exported import IMAGE
from nni_count.model.graph import needed

#: bounds the memory: of larger images the middle is taken
LARGEST = 512


def quantise(graph: Path, images: Sequence[np.ndarray]) -> None:
    """Let the convolutions of an ONNX graph compute with 8 bits; the file is written anew.

    The last one stays as it is: it answers densities, of which most are nearly 0.

    Args:
        graph: as :func:`nni_count.model.graph.export_onnx` wrote it.
        images: ``(H, W, 3)`` uint8, from which the ranges of what passes between convolutions are found.

    Raises:
        SettingError: a package is missing.
    """
    with needed():
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        left = iter([{IMAGE: _middle(image)} for image in images])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    texts = {prop.key: prop.value for prop in onnx.load(graph).metadata_props}
    prepared = graph.with_name("prepared.onnx")
    quant_pre_process(graph, prepared, skip_symbolic_shape=True)
    convolutions = [node.name for node in onnx.load(prepared).graph.node if node.op_type == "Conv"]
    quantization.quantize_static(
        prepared,
        graph,
        Reader(),
        op_types_to_quantize=["Conv"],
        nodes_to_exclude=convolutions[-1:],
        per_channel=True,
        reduce_range=True,  # processors without VNNI overflow with all 8 bits of a weight
    )
    made = onnx.load(graph)
    onnx.helper.set_model_props(made, texts)
    onnx.save(made, graph)


def _middle(image: np.ndarray) -> np.ndarray:
    top, left = (max(0, side - LARGEST) // 2 for side in image.shape[:2])
    return np.ascontiguousarray(image[top : top + LARGEST, left : left + LARGEST])
