"""How a network learns to regress maps: the step, the schedule, the moving average, and what is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from nni_count.data.sample import Sample
from nni_count.errors import TrainingError
from nni_count.networks import Network
from nni_count.tasks.judging import best_first, judge_image, main_figure
from nni_count.tasks.task import Figures, Task
from nni_count.training.batches import CropLoader
from nni_count.training.objective import Objective
from nni_count.training.settings import Budget, TrainingRecipe
from nni_count.training.together import gather, of_the_first

EPOCHS = 100  # of a training without any budget
REMEDY = (
    "the last good checkpoint is kept. Lower --learning_rate, with --resume or in another --out, "
    "or look for faulty images with nni-count doctor"
)
PAPER_DECAY, PAPER_DECAY_STEPS = 0.8, 15_000  # NAS-Count, section 4.1.2


@dataclass(frozen=True)
class Length:
    """How long a training is: steps, seconds, or both, whichever ends first."""

    steps: int | None
    seconds: float | None

    @classmethod
    def of(cls, budget: Budget, timer: Timer, batches: int) -> Length:
        """Of a run whose passes over the training images have so many batches."""
        epochs = budget.max_epochs
        if epochs is None and budget.max_steps is None and budget.max_time is None:
            epochs = EPOCHS
        steps = [number for number in (budget.max_steps, epochs and epochs * batches) if number is not None]
        return cls(min(steps, default=None), timer.time_remaining())

    def progress(self, steps: int, seconds: float) -> float:
        """The share that is over, from 0 to 1."""
        shares = [done / most for done, most in ((steps, self.steps), (seconds, self.seconds)) if most]
        return min(1.0, max(shares))


def cosine(progress: float) -> float:
    """The share of the first learning rate that is left: 1 at the start, 0 at the end."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def _each(task: Task, rows: Sequence[Figures]) -> list[float]:
    """The main metric of each image."""
    return [main_figure(task, [row]) for row in rows]


class Retraining(pl.LightningModule):
    """The network, the moving average of its weights, and how they are trained and judged.

    Args:
        network: maps ``(B, 3, S, S)`` to ``(B, K, S / stride, S / stride)``.
        objective: what a step minimises.
        recipe: optimiser, schedule and averages. Where batch norms are frozen at the end they keep the moving average
            of their statistics, so that the weights learn with what they are used with (Wu and Johnson, Rethinking
            "Batch" in BatchNorm, 2021, section 3).
        length: of the run.
        timer: knows the time that the run has taken, interruptions left out.
        loader: of the training crops; its place is kept in checkpoints.
        validation: the samples whose images the validation gets, with their places here.
    """

    def __init__(
        self,
        network: Network,
        objective: Objective,
        *,
        recipe: TrainingRecipe,
        length: Length,
        timer: Timer,
        loader: CropLoader,
        validation: Sequence[Sample] = (),
    ):
        super().__init__()
        self.network = network
        self.average: AveragedModel | None = None
        if recipe.average_decay:
            averaging = get_ema_multi_avg_fn(recipe.average_decay)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(network, multi_avg_fn=averaging, use_buffers=True)
            self.average.requires_grad_(False)  # several processes would wait for its gradients
        self.recipe = recipe
        self.norms_are_frozen = False
        self.objective = objective
        self.task = objective.task
        self.length = length
        self.timer = timer
        self.loader = loader
        self.validation = validation
        self.best: dict[str, Any] = {}  # metric, weights ("raw" or "average"), step, state, each (image's metric)
        self.rows: dict[str, list[Figures]] = {}  # of the last validation
        self._judged: dict[str, dict[int, Figures]] = {}  # by the number of the image, in this process
        self._elapsed = 0.0

    def rate(self) -> float:
        """The share of the first learning rate that the schedule asks for now."""
        if self.recipe.schedule == "paper":
            return float(PAPER_DECAY ** (self.global_step // PAPER_DECAY_STEPS))
        final = self.recipe.final_share
        return final + (1 - final) * cosine(self.progress())

    def progress(self) -> float:
        """The share of the run that is over, from 0 to 1."""
        return self.length.progress(self.global_step, self._elapsed or self.timer.time_elapsed("train"))

    def configure_optimizers(self) -> Any:
        optimizer = self.recipe.make_optimizer(self.network.parameters(), fused=True)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: self.rate())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    @property
    def processes(self) -> int:
        """How many train together."""
        return self.trainer.world_size if self._trainer else 1

    def on_train_batch_start(self, *_: Any) -> None:
        if self.processes > 1 and self.length.seconds:  # each has a clock of its own, and all need one rate
            self._elapsed = self.trainer.strategy.broadcast(self.timer.time_elapsed("train"))
        share = self.recipe.frozen_norms
        if not share or self.progress() < 1 - share:
            return
        if not self.norms_are_frozen:
            averaged = dict(self._networks().get("average", self.network).named_buffers())
            for name, buffer in self.network.named_buffers():
                buffer.copy_(averaged[name])
            self.norms_are_frozen = True
        for module in self.network.modules():
            if isinstance(module, _BatchNorm):
                module.eval()

    def training_step(self, batch: Sequence[Tensor], _: int) -> Tensor:
        images, targets, *points = batch
        images = images.contiguous(memory_format=torch.channels_last)
        loss = self.network.training_loss(images, targets, self.objective.of(images, *points), self.progress())
        finite = bool(torch.isfinite(loss))
        if not self.trainer.strategy.reduce_boolean_decision(finite):  # of all processes at once
            raise TrainingError(f"the loss is {loss.item()} at step {self.global_step}; {REMEDY}")
        self.log("loss", loss, prog_bar=True, on_step=True, on_epoch=False)
        return loss

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        # Lightning's own refuses a fused optimiser
        if self.recipe.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.gradient_clip)

    def optimizer_step(self, *arguments: Any, **settings: Any) -> None:
        super().optimizer_step(*arguments, **settings)
        if self.average is None:
            return
        # here and not at the end of the batch, when callbacks have already saved their checkpoints
        if self.global_step < 1 / (1 - self.recipe.average_decay):
            self.average.n_averaged.zero_()  # a copy until the average has something to average over
        self.average.update_parameters(self.network)

    def _networks(self) -> dict[str, Network]:
        averaged = {} if self.average is None else {"average": cast(Network, self.average.module)}
        return {"raw": self.network, **averaged}

    def on_validation_epoch_start(self) -> None:
        self._judged = {name: {} for name in self._networks()}
        if self.processes > 1:  # the norms of each have followed its own batches
            for network in self._networks().values():
                of_the_first(network.buffers())

    def validation_step(self, batch: tuple[Tensor, int], _: int) -> None:
        image, index = batch
        for name, network in self._networks().items():
            self._judged[name][index] = judge_image(network, self.task, self.validation[index], image)

    def on_validation_epoch_end(self) -> None:
        metric = self.task.main_metric
        self.rows = {name: gather(rows, self.processes) for name, rows in self._judged.items()}
        for name in self.rows:
            figure = main_figure(self.task, self.rows[name])
            self.log(f"validation_{metric}_{name}", figure, prog_bar=True)
            worst = -math.inf if self.task.larger_is_better else math.inf
            if not self.trainer.sanity_checking and self.task.is_better(figure, self.best.get("metric", worst)):
                self.keep(name, figure)
        if self.trainer.state.fn == "validate":
            self._prefer_the_end()

    def _prefer_the_end(self) -> None:
        """Keep the weights at the end, unless earlier ones are better by more than a standard error of the difference
        on the same images: of several that few images cannot tell apart, the lowest figure is that of the luckiest.
        """
        figures = {name: main_figure(self.task, rows) for name, rows in self.rows.items()}
        (name, figure), *_ = best_first(figures.items(), self.task, lambda item: item[1])
        worse = np.subtract(_each(self.task, self.rows[name]), self.best.get("each", math.nan))
        worse = -worse if self.task.larger_is_better else worse
        if len(worse) > 1 and worse.mean() <= worse.std(ddof=1) / math.sqrt(len(worse)):
            self.keep(name, figure)

    def keep_last(self) -> None:
        """Keep the weights at the end, their moving average where there is one; their main metric is not known."""
        self.keep(list(self._networks())[-1], None)

    def keep(self, name: str, figure: float | None) -> None:
        """Keep the weights, ``raw`` or ``average``, as they now are, with their main metric where it is known."""
        state = {key: value.detach().cpu().clone() for key, value in self._networks()[name].state_dict().items()}
        each = [] if figure is None else _each(self.task, self.rows[name])
        self.best = {"metric": figure, "weights": name, "step": self.global_step, "state": state, "each": each}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if not all(bool(torch.isfinite(weight).all()) for weight in self.network.state_dict().values()):
            raise TrainingError(f"weights are no longer numbers at step {self.global_step}; {REMEDY}")
        checkpoint["best"] = self.best
        checkpoint["norms_are_frozen"] = self.norms_are_frozen
        checkpoint["loader"] = self.loader.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.recipe.adopt(checkpoint)
        self.best = checkpoint["best"]
        self.norms_are_frozen = checkpoint.get("norms_are_frozen", False)
        self.loader.load_state_dict(checkpoint["loader"])  # Lightning does so only when max_steps is set
