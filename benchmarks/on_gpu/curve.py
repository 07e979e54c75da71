"""What is watched while a network trains: the learning curve, and how long its steps wait for data."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from nni_count.training.learner import Retraining
from on_gpu.results import Part


class Waits(Callback):
    """The share of time between the end of a step and the start of the next, when the host fetches a batch.

    The first step and those after a validation do not count. The device may still be at work meanwhile, so the share of
    time in which it had nothing to do is smaller.
    """

    def __init__(self) -> None:
        self.waited = self.worked = self.begun = 0.0
        self.steps = 0
        self.ended: float | None = None

    def on_train_batch_start(self, *_: Any) -> None:
        self.begun = time.perf_counter()
        if self.ended is not None:
            self.waited += self.begun - self.ended

    def on_train_batch_end(self, *_: Any) -> None:
        now = time.perf_counter()
        if self.ended is not None:
            self.worked += now - self.begun
            self.steps += 1
        self.ended = now

    def on_validation_start(self, *_: Any) -> None:
        self.ended = None

    def figures(self, batch: int) -> dict[str, Any]:
        """Of all steps up to now; None where there are too few."""
        whole = self.waited + self.worked
        return {
            "waiting_share": round(self.waited / whole, 4) if whole else None,
            "step_milliseconds": round(1e3 * whole / self.steps, 2) if self.steps else None,
            "crops_a_second": round(self.steps * batch / whole, 1) if whole else None,
        }


class Autotune(Callback):
    """cuDNN tries its algorithms for the crops, which have one size, and not for whole images, which have many."""

    def on_train_start(self, *_: Any) -> None:
        torch.backends.cudnn.benchmark = True

    def on_validation_start(self, *_: Any) -> None:
        torch.backends.cudnn.benchmark = False

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        torch.backends.cudnn.benchmark = trainer.training

    def teardown(self, *_: Any, **__: Any) -> None:
        torch.backends.cudnn.benchmark = False


class Curve(Callback):
    """A row in the results for every validation: seconds, step, the mean loss since the last one, and the errors.

    Args:
        part: gets the rows.
        module: knows step and time.
    """

    def __init__(self, part: Part, module: Retraining):
        self.part = part
        self.module = module
        self.losses: list[torch.Tensor] = []

    def on_train_batch_end(self, _: pl.Trainer, __: pl.LightningModule, outputs: Any, *___: Any) -> None:
        self.losses.append(outputs["loss"].detach())  # not read here, which would wait for the device

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        with self.part.row("curve", step=self.module.global_step) as row:
            row["seconds"] = round(self.module.timer.time_elapsed("train"), 1)
            row["loss"] = round(float(torch.stack(self.losses).mean()), 5) if self.losses else None
            for name in ("raw", "average"):
                row[f"validation_mae_{name}"] = round(float(trainer.callback_metrics[f"validation_mae_{name}"]), 2)
        self.losses.clear()
