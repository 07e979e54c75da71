"""A trial of an NNI experiment: its settings come from NNI, its figures go to the portal."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Timer

from nni_count.errors import RunError
from nni_count.searching.nni import nni
from nni_count.searching.own_parameters import ask_for_own_parameters

#: what a search logs after an epoch, beside the main metric → what the portal calls it
INTERMEDIATE = {
    "alpha_entropy": "alpha_entropy",
    "loss/weights": "loss",
    "loss/architecture": "architecture_loss",
    "cost": "cost",
}


class Report(Timer):
    """Reports every epoch of a search to NNI, and knows how long the search took, interruptions left out.

    Args:
        main_metric: the task's, which the portal draws and the tuner sees.
    """

    def __init__(self, main_metric: str) -> None:
        super().__init__(None)
        self.names = {f"validation_{main_metric}": "default", **INTERMEDIATE}
        self.overhead: float | None = None
        self.evaluations = 0
        self.spent = 0.0

    def facts(self) -> dict[str, Any]:
        """What the search took."""
        seconds = self.spent or self.time_elapsed("train")
        facts = {"search_seconds": round(seconds, 1), "overhead_seconds": self.overhead}
        return {**facts, "evaluations": self.evaluations} if self.evaluations else facts

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        self.first_step()

    def first_step(self) -> None:
        """Print once how long it took from the start of the process to the first step."""
        if self.overhead is None:
            self.overhead = round(time.time() - psutil.Process().create_time(), 1)
            print(f"first step {self.overhead} s after the start of the process", flush=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        super().on_train_epoch_end(trainer, *args)
        found = {
            shown: float(trainer.callback_metrics[name])
            for name, shown in self.names.items()
            if name in trainer.callback_metrics
        }
        tell(nni.report_intermediate_result, {**found, "epoch": trainer.current_epoch + 1})

    def after_evaluation(self, row: dict[str, float]) -> None:
        """Report an evaluated architecture of the random search: the best figure so far, and its own."""
        self.evaluations += 1
        self.spent += row["seconds"]
        tell(
            nni.report_intermediate_result, {"default": row["best"], "metric": row["metric"], "epoch": self.evaluations}
        )


def tell(send: Callable[[dict[str, float]], None], figures: dict[str, float]) -> None:
    """Tell NNI; a manager that is gone costs no figures, since they are in the run folder."""
    try:
        send(figures)
    except OSError:  # what NNI's channel lets through
        warnings.warn(
            f"NNI's manager does not answer, so the portal lacks {figures}; the run goes on, its figures stay in its "
            "folder, and nni-count compare reads them there",
            stacklevel=2,
        )


def from_nni() -> list[str]:
    """The options that NNI gives to the trial that this process is: ``--name=value``; none outside an experiment.

    Raises:
        RunError: NNI's manager does not answer, or not whose they are.
    """
    if "NNI_TRIAL_JOB_ID" not in os.environ:
        return []
    out = Path(os.environ["NNI_OUTPUT_DIR"]) / "run"
    ask_for_own_parameters()
    try:
        parameters = nni.get_next_parameter()
    except OSError:
        parameters = None
    if parameters is None:
        raise RunError("NNI's manager does not answer; start it again with nnictl resume ID")
    # what is named comes before its own settings: --strategy before --strategy.warmup_epochs
    names = sorted(parameters, key=lambda name: name.count("."))
    options = [f"--{name}={_text(parameters[name])}" for name in names]
    return [*options, f"--out={out}", *(["--resume"] if (out / "config.yaml").is_file() else [])]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
