"""A trained model: one file that holds the weights and all that is needed to apply them, or a graph exported of one."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nni_count.errors import SettingError
from nni_count.model.estimator import Estimator
from nni_count.model.exported import SUFFIXES, load_exported
from nni_count.model.named import find_model
from nni_count.runs.memory import keep_memory

if TYPE_CHECKING:  # torch comes with them, which an exported model needs not
    import torch

    from nni_count.model.trained import Model, load_trained, save_model

__all__ = ["Estimator", "Model", "load_exported", "load_model", "load_trained", "save_model"]


def load_model(path: str | Path, device: str | torch.device = "cpu", threads: int | None = None) -> Estimator:
    """Load a model to estimate with: a ``model.safetensors``, whose batch norms are folded for that, see
    :meth:`nni_count.model.trained.Model.fold`; or what ``nni-count export`` made of one, which needs no torch. The
    process keeps from then on the memory that it frees, which images of a megapixel gain a third of their time by.

    Args:
        path: of the file: ``.safetensors``, ``.onnx``, or OpenVINO's ``.xml`` with its ``.bin`` beside it; or a name,
            see :func:`nni_count.model.named.find_model`.
        device: torch's name of it; an exported model is computed on the processor.
        threads: of the processor that compute, of the whole process where torch does; as many as it sees fit where not
            given.

    Raises:
        ModelError: the file is no model, or is damaged; see :func:`load_trained` and :func:`load_exported`.
        SettingError: there is no such device, or there are no threads.
    """
    if threads is not None and threads < 1:
        raise SettingError(f"threads: {threads}; give a number from 1")
    keep_memory()
    path = find_model(path)
    if path.suffix.lower() in SUFFIXES:
        return load_exported(path, threads)
    import torch

    from nni_count.model.trained import load_trained

    if threads is not None:
        torch.set_num_threads(threads)
    model = load_trained(path, device)
    model.fold()
    return model


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'nni_count.model' has no attribute {name!r}")
    return getattr(importlib.import_module("nni_count.model.trained"), name)
