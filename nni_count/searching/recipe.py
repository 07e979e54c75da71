"""How a space is trained; the strategy decides what learns from which batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from nni_count.errors import TrainingError
from nni_count.losses import create_loss
from nni_count.losses.weighted import WeightedSum
from nni_count.searching.halves import Halves
from nni_count.searching.nni import LightningModule
from nni_count.searching.recording import Recorded
from nni_count.searching.space import Space
from nni_count.tasks.task import Task
from nni_count.training.objective import Objective
from nni_count.training.settings import Recipe


def searched(space: Space, task: Task, distance: WeightedSum | None) -> Objective:
    """What a search minimises: the space's own loss, or another in which it stands for ``sppl`` without settings."""
    if distance is None:
        return Objective(task, space.loss, space.map_stride)
    return Objective(task, distance, space.map_stride, {"sppl": space.loss})


class SpaceTraining(LightningModule):
    """How a space is trained: what NNI calls the evaluator's module. The strategy decides what learns from which batch.

    Args:
        task: what is regressed.
        recipe: how the weights are trained.
        epochs: of the whole run.
        penalty: makes of the space and its loss on the half for the architecture what α and β minimise.
    """

    def __init__(
        self, task: Task, recipe: Recipe, epochs: int, penalty: Callable[[nn.Module, Tensor], Tensor] | None = None
    ):
        super().__init__()
        self.task = task
        self.recipe = recipe
        self.epochs = epochs
        self.penalty = penalty
        self.distance = None if recipe.loss is None else create_loss(recipe.loss)
        #: what learns from which half, and a faster way through the space; a strategy may give them
        self.halves: Halves | None = None
        self.recorded: Recorded | None = None
        self._held_out: Any = None

    def learn(self, architecture: bool) -> None:
        """Let α and β learn, or the weights; all of them where the strategy does not tell them apart, as NNI's own."""
        if self.halves:
            self.halves.learn(architecture)

    def estimate(self, images: Tensor, architecture: bool) -> Tensor:
        """Maps of a batch of the half for the architecture, or of the other."""
        return self.recorded(images, architecture) if self.recorded else cast(Space, self.model)(images)

    @property
    def needs_points(self) -> bool:
        """Whether batches must come with their points."""
        return self.distance is not None and self.distance.needs_points

    def configure_optimizers(self) -> Any:
        optimizer = self.recipe.make_optimizer(self.parameters())
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}

    def configure_gradient_clipping(self, optimizer: Any, gradient_clip_val: Any = None, *_: Any, **__: Any) -> None:
        # strategies call it with a limit of their own, or none
        limit = self.recipe.gradient_clip if gradient_clip_val is None else gradient_clip_val
        if limit is not None:
            nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], limit)

    def rate(self, epoch: int) -> float:
        """The share of the first learning rate in an epoch; a resumed run may have been given more of them."""
        final = self.recipe.final_share
        return final + (1 - final) * (1 + math.cos(math.pi * min(1.0, epoch / self.epochs))) / 2

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # differentiable strategies take a batch of each half and call `training_step` twice
        self._held_out = batch["val"] if isinstance(batch, dict) else None

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        half = "architecture" if batch is self._held_out else "weights"
        self.learn(architecture=half == "architecture")
        return self._loss(batch, half)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self._loss(batch, "architecture")

    def _loss(self, batch: list[Tensor], half: str) -> Tensor:
        images, targets, *points = batch
        model = cast(Space, self.model)
        output = self.estimate(images.contiguous(memory_format=torch.channels_last), half == "architecture")
        loss = searched(model, self.task, self.distance).of(images, *points)(output, targets)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss.item()} at step {self.trainer.fit_loop.epoch_loop.total_batch_idx} (epoch "
                f"{self.trainer.current_epoch}, half for the {half}); the checkpoint of the epoch before is kept. "
                "Lower --learning_rate, with --resume or in another --out, or look for faulty images with nni-count "
                "doctor"
            )
        self.log(f"loss/{half}", loss, on_step=False, on_epoch=True, batch_size=len(images), sync_dist=True)
        self.log(half, loss, prog_bar=True, logger=False, on_step=True, on_epoch=False)
        return self.penalty(self.model, loss) if self.penalty and half == "architecture" else loss
