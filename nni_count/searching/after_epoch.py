"""What happens after an epoch of a search: the architecture is read, judged, written, and the search may end."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, TQDMProgressBar

from nni_count.architecture import Architecture, write_architecture
from nni_count.errors import Interrupted, TrainingError
from nni_count.pictures.cells import draw_cells
from nni_count.pictures.progress import draw_progress
from nni_count.runs.run import Run, Stop
from nni_count.searching.certainty import AGREEMENT, ENTROPY, agreement, entropy
from nni_count.searching.cost import CostTable
from nni_count.searching.decoding import strongest
from nni_count.searching.nni import Probabilities, export_sample, read_probabilities
from nni_count.searching.settings import EarlyStop
from nni_count.searching.space import Space
from nni_count.searching.validation import Validation
from nni_count.training.batches import CropLoader
from nni_count.training.settings import Recipe

#: seconds between two drawings of the pictures: they take one, and an epoch of a short search not many more
DRAW_EVERY = 30.0


class WarmUpBar(TQDMProgressBar):
    """Lightning's progress bar, which also says so while α and β stay as they are."""

    def on_train_epoch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        super().on_train_epoch_start(trainer, *args)
        if trainer.current_epoch < getattr(trainer.lightning_module, "warmup_epochs", 0):
            self.train_progress_bar.set_description(f"Epoch {trainer.current_epoch} (warming up: weights only)")


@dataclass(eq=False, repr=False)
class AfterEpoch(Callback):
    """What stands in the run folder after an epoch, and what makes a resumed run equal an uninterrupted one.

    Logs ``alpha/…``, ``beta/…``, ``alpha_entropy`` (mean of the choices, 1 where all candidates are equally likely),
    ``agreement`` (share of the choices that are as they were an epoch before),
    ``validation_…``, the task's main metric (``validation_mae`` for counting), and ``cost`` of the architecture that is
    strongest now.

    Args:
        run: where it stands.
        stop: whether the user asked for a stop.
        loaders: whose place in their streams a checkpoint keeps; Lightning forgets it at the end of an epoch.
        seed: of the run.
        provenance: of the architecture, as far as it is known before the search.
        rule: how the architecture is decoded.
        table: costs and their budget, where there is one.
        validation: judges the strongest architecture; None to leave that out.
        early_stop: when the search ends by itself.
        recipe: whose learning rate a resumed search goes on with.
    """

    run: Run
    stop: Stop
    loaders: list[CropLoader]
    seed: int
    provenance: dict[str, Any]
    rule: str
    table: CostTable | None
    validation: Validation | None
    early_stop: EarlyStop
    recipe: Recipe
    #: what the last whole epoch found: the strategy's sample, its probabilities, and the provenance
    found: dict[str, Any] = field(default_factory=dict, init=False)
    history: list[Architecture] = field(default_factory=list, init=False)
    #: what the picture shows of each epoch
    epochs: list[dict[str, float]] = field(default_factory=list, init=False)
    #: of the last epoch, where it is not drawn yet; and when the last one was
    waiting: Architecture | None = field(default=None, init=False)
    drawn: float = field(default=0.0, init=False)

    def state_dict(self) -> dict[str, Any]:
        return {
            "loaders": [loader.state_dict() for loader in self.loaders],
            "found": self.found,
            "history": [architecture.to_dict() for architecture in self.history],
            "epochs": self.epochs,
        }

    def on_load_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        self.recipe.adopt(checkpoint)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for loader, place in zip(self.loaders, state["loaders"], strict=True):
            loader.load_state_dict(place)
        self.found = state["found"]
        self.history = [Architecture.from_dict(found) for found in state["history"]]
        self.epochs = state.get("epochs", [])  # of searches before there was a picture

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.drawn = time.monotonic()
        self.stop.listen()
        if not trainer.strategy.broadcast(self.run.last_checkpoint.is_file()):
            trainer.save_checkpoint(self.run.last_checkpoint)  # so that an interrupted first epoch can be resumed

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:  # what strategies draw depends on seed and epoch alone, not on what came before
            torch.manual_seed(int(np.random.SeedSequence((self.seed, trainer.current_epoch)).generate_state(1)[0]))

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.strategy.reduce_boolean_decision(self.stop.requested, all=False):  # all processes at once
            raise Interrupted(
                f"{self.run.folder}: interrupted; --resume begins epoch {trainer.current_epoch} (counted from 0) again"
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        if not all(bool(torch.isfinite(parameter).all()) for parameter in module.parameters()):
            raise TrainingError(
                f"weights are no longer numbers after epoch {trainer.current_epoch}; the checkpoint of the epoch "
                "before is kept. Lower --learning_rate, with --resume or in another --out"
            )
        alphas, betas = read_probabilities(module)
        before = self.found.get("sample", {})
        self.found = {
            "sample": export_sample(module),
            "probabilities": {**alphas, **betas},
            "provenance": {
                **self.provenance,
                "epochs": trainer.current_epoch + 1,
                "alphas": _rounded(alphas),
                "betas": _rounded(betas),
            },
        }
        architecture = strongest(
            module.model,
            self.found["sample"],
            self.found["probabilities"],
            self.found["provenance"],
            self.rule,
            self.table,
        )
        metrics = self._metrics(module, architecture, alphas, betas)
        if before:
            metrics[AGREEMENT] = agreement(before, self.found["sample"])
        module.log_dict(metrics, prog_bar=False)
        panels = self.panels
        shown = {name: metrics[name] for name in panels if math.isfinite(metrics.get(name, math.nan))}
        self.epochs = [*self.epochs, shown]
        if trainer.is_global_zero:
            write_architecture(architecture, self.run.folder / "architecture.yaml")
            self.waiting = architecture
            if time.monotonic() > self.drawn + DRAW_EVERY:
                self._draw()
        if trainer.current_epoch >= getattr(module, "warmup_epochs", 0):
            self.history = [*self.history, architecture][-(self.early_stop.unchanged or 0) - 1 :]
            reason = self.early_stop.reason(self.history)
            if reason:
                print(f"\nThe search ends: {reason}", flush=True)
                trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._draw()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self._draw()

    def draw_ended(self, space: Space) -> None:
        """The pictures of a search that had already ended when it was resumed, before which it may have been killed."""
        if self.found and not self.drawn:
            sample, probabilities, provenance = (self.found[name] for name in ("sample", "probabilities", "provenance"))
            self.waiting = strongest(space, sample, probabilities, provenance, self.rule, self.table)
            self._draw()

    def _draw(self) -> None:
        """The pictures of the last epoch, unless they are there."""
        if self.waiting:
            draw_cells(self.waiting, self.run.folder / "cells.png")
            if any(self.epochs):
                draw_progress(self.epochs, self.panels, self.run.folder / "progress.png")
            self.waiting, self.drawn = None, time.monotonic()

    @property
    def panels(self) -> dict[str, str]:
        """Title by name of what the picture shows."""
        shown = {ENTROPY: "entropy of α, 1: undecided", AGREEMENT: "choices as an epoch before"}
        if self.validation:
            metric = self.validation.task.main_metric
            shown[f"validation_{metric}"] = f"validation {metric.upper()} of the strongest"
        return shown

    def _metrics(
        self, module: Any, architecture: Architecture, alphas: Probabilities, betas: Probabilities
    ) -> dict[str, float]:
        metrics = {
            f"{name}/{label}/{choice}": value
            for name, probabilities in (("alpha", alphas), ("beta", betas))
            for label, choices in probabilities.items()
            for choice, value in choices.items()
        }
        if alphas:
            metrics[ENTROPY] = entropy(alphas)
        if self.table:
            metrics["cost"] = architecture.provenance["cost"]["value"]
        if self.validation:
            metrics[f"validation_{self.validation.task.main_metric}"] = self.validation.figure(
                module.model, architecture, module.global_rank, module.trainer.world_size
            )
        return metrics


def _rounded(probabilities: Probabilities) -> Probabilities:
    return {label: {name: round(p, 4) for name, p in choices.items()} for label, choices in probabilities.items()}
