"""NNI-Count: search, retrain and use networks that count by density.

The public names are imported when they are first used, so that ``import nni_count`` is quick and needs no NNI.
"""

from __future__ import annotations

import importlib
from typing import Any

_PUBLIC = {
    "Architecture": "nni_count.architecture",
    "Augmentation": "nni_count.training.settings",
    "Budget": "nni_count.training.settings",
    "Compute": "nni_count.training.compute",
    "Cost": "nni_count.searching.cost",
    "Counting": "nni_count.tasks.counting",
    "Crops": "nni_count.training.settings",
    "Decoding": "nni_count.searching.settings",
    "EarlyStop": "nni_count.searching.settings",
    "Inference": "nni_count.model.inference",
    "Model": "nni_count.model",
    "NNICountError": "nni_count.errors",
    "RandomBudget": "nni_count.searching.random_search",
    "Recipe": "nni_count.training.settings",
    "Sample": "nni_count.data.sample",
    "SearchBudget": "nni_count.searching.settings",
    "Task": "nni_count.tasks.task",
    "TrainingRecipe": "nni_count.training.settings",
    "Trials": "nni_count.searching.multi_trial.record",
    "Verification": "nni_count.searching.settings",
    "adaptive_sigma": "nni_count.data.adaptive",
    "app": "nni_count.commands.app",
    "compare": "nni_count.commands.compare",
    "decode": "nni_count.commands.decode",
    "demo": "nni_count.commands.demo",
    "density_map": "nni_count.data.density",
    "doctor": "nni_count.commands.doctor",
    "evaluate": "nni_count.commands.evaluate",
    "export": "nni_count.commands.export",
    "load_model": "nni_count.model",
    "open_data": "nni_count.data",
    "open_table": "nni_count.comparing.trained",
    "predict": "nni_count.commands.predict",
    "read_architecture": "nni_count.architecture",
    "retrain": "nni_count.commands.retrain",
    "search": "nni_count.commands.search",
    "simulate": "nni_count.commands.simulate",
    "trial": "nni_count.commands.trial",
    "work": "nni_count.commands.work",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'nni_count' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(_PUBLIC)
