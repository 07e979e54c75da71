"""NNI-Count: search, retrain and use networks that count by density.

The public names are imported when they are first used, so that ``import nni_count`` is quick and needs no NNI.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_PUBLIC = {
    "Architecture": "nni_count.architecture",
    "Cost": "nni_count.cost",
    "Counting": "nni_count.counting",
    "EarlyStop": "nni_count.after_epoch",
    "Model": "nni_count.model",
    "NNICountError": "nni_count.errors",
    "Sample": "nni_count.data.sample",
    "Task": "nni_count.task",
    "adaptive_sigma": "nni_count.data.adaptive",
    "decode": "nni_count.decode",
    "demo": "nni_count.demo",
    "density_map": "nni_count.data.density",
    "doctor": "nni_count.doctor",
    "evaluate": "nni_count.evaluate",
    "load_model": "nni_count.model",
    "open_data": "nni_count.data",
    "open_table": "nni_count.table",
    "predict": "nni_count.predict",
    "read_architecture": "nni_count.architecture",
    "retrain": "nni_count.retrain",
    "search": "nni_count.search",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'nni_count' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(_PUBLIC)


class _Package(ModuleType):
    """``nni_count.search`` is the function, also after the module of that name was imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _PUBLIC.get(name) == value.__name__:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
