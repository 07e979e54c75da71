"""An exported model, computed by ONNX Runtime or OpenVINO alone: neither torch nor NNI is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nni_count.data.views import VIEWS, check_views
from nni_count.errors import DataError, ModelError, NNICountError, SettingError
from nni_count.model.estimator import Estimator
from nni_count.model.header import DAMAGED, FORMAT, first_line, read_header
from nni_count.model.seal import check_seal
from nni_count.runs.memory import is_for_memory
from nni_count.runs.plain import check_file, parse_json
from nni_count.tasks.task import create_task

#: of an image ``(H, W, 3)`` uint8 RGB → the estimated maps, ``(K, h, w)`` float32, and what is read from them by name
Graph = Callable[[np.ndarray], Mapping[str, np.ndarray]]
IMAGE, MAP = "image", "map"  # names of the graph's input and first output
REMEDY = "give what nni-count export wrote"
INSTALL = "pip install 'nni-count[export]' brings it"


class ExportedModel(Estimator):
    """A graph with its task, for images of any size.

    Args:
        graph: that estimates; it normalises and pads.
        texts: what the file says of it: the header of the model that it was made of, and ``export``.

    Raises:
        ModelError: the texts are not those of an exported model, or its task is neither installed nor imported.
    """

    def __init__(self, graph: Graph, texts: Mapping[str, str]):
        if texts.get("format") != FORMAT or "export" not in texts:
            raise ModelError(f"format is {texts.get('format')!r} and no export of {FORMAT!r}; {REMEDY}")
        try:
            header, self.export = read_header(texts), parse_json(texts["export"])
            about = (int(self.export[name]) for name in ("parameters", "multiple", "map_stride"))
            parameters, self._multiple, stride = about
            self._reach = None if (far := self.export.get("reach")) is None else int(far)
            if not 1 <= stride <= self._multiple <= 1 << 16 or not 0 <= (self._reach or 0) <= 1 << 16:
                raise ValueError(f"map_stride {stride}, multiple {self._multiple}, reach {self._reach}")
        except (*DAMAGED, NNICountError) as error:
            raise ModelError(f"damaged header ({first_line(error)}); {REMEDY}") from error
        try:
            task = create_task(header.task, header.task_settings, of_file=True)
        except SettingError as error:
            raise ModelError(str(error)) from error
        super().__init__(header.name, header.settings, parameters, stride, task, header.facts, header.origin)
        self.graph = graph

    @property
    def multiple(self) -> int:
        return self._multiple

    @property
    def reach(self) -> int | None:
        return self._reach

    def _estimate(self, image: np.ndarray, views: int) -> np.ndarray:
        check_views(views)
        height, width = image.shape[:2]
        # what the graph does by itself, done before the image is turned, as a trained model does it
        missing = [(0, -side % self._multiple) for side in (height, width)]
        padded = image if views == 1 else np.pad(image, [*missing, (0, 0)], "edge")
        maps = []
        for turns, mirrored in VIEWS[views]:
            view = np.rot90(padded[:, ::-1] if mirrored else padded, turns)
            found = np.rot90(self._map(np.ascontiguousarray(view)), -turns, (1, 2))
            maps.append(found[..., ::-1] if mirrored else found)
        mean = maps[0] if views == 1 else np.asarray(np.mean(maps, 0, dtype=np.float32))
        return np.ascontiguousarray(mean[:, : -(-height // self.map_stride), : -(-width // self.map_stride)])

    def _map(self, image: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(self.graph(image)[MAP])
        except Exception as error:  # each runtime has its own
            if not is_for_memory(error):
                raise
            size = f"{image.shape[1]}×{image.shape[0]}"
            raise DataError(f"an image of {size} pixels does not fit into the memory; scale it down") from error


def load_exported(path: str | Path, threads: int | None = None) -> ExportedModel:
    """Load what ``nni-count export`` wrote.

    Args:
        path: of a file whose suffix is one of :data:`SUFFIXES`.
        threads: that compute; as many as the runtime sees fit where not given.

    Raises:
        ModelError: the file is missing, damaged or foreign, or was made for a task that is neither installed nor
            imported; or the runtime is not installed.
    """
    try:
        check_file(path)
        graph, texts = SUFFIXES[Path(path).suffix.lower()](Path(path), threads)
        model = ExportedModel(graph, texts)
        check_seal(texts.get("checksum"), Path(path).read_bytes(), beside(Path(path)))
    except ImportError as error:
        raise ModelError(f"{path}: needs {error.name}, which is not installed; {INSTALL}") from error
    except NNICountError as error:
        raise ModelError(f"{path}: {error}") from error
    except Exception as error:  # each runtime has its own
        raise ModelError(f"{path}: not a readable model ({first_line(error)}); {REMEDY}") from error
    model.file = Path(path)
    return model


def beside(path: Path) -> bytes:
    """The weights of OpenVINO's graphs; nothing of a file that holds its own."""
    return path.with_suffix(".bin").read_bytes() if path.suffix.lower() == ".xml" else b""


def _onnx(path: Path, threads: int | None) -> tuple[Graph, dict[str, str]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors, which are raised as well
    if threads is not None:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    texts = dict(session.get_modelmeta().custom_metadata_map)
    return lambda image: dict(zip(names, session.run(None, {IMAGE: image}), strict=True)), texts


def _openvino(path: Path, threads: int | None) -> tuple[Graph, dict[str, str]]:
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    # an image at a time, by all threads; exactly, where it would take bfloat16 on processors that have it
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    compiled = core.compile_model(model, "CPU", settings)
    texts = {name: str(value) for name, value in model.get_rt_info(["nni_count"]).value.items()}
    return lambda image: {output.any_name: found for output, found in compiled(image).items()}, texts


#: suffix → how its graph and its texts are read
SUFFIXES = {".onnx": _onnx, ".xml": _openvino}
