"""Settings that travel together: how crops are drawn, how weights are trained, for how long, and on what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pytorch_lightning.callbacks import Timer

from nni_count.errors import SettingError
from nni_count.runs.ranges import Range, check

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("cosine", "paper")


@dataclass(frozen=True)
class Augmentation:
    """How crops are drawn, beside their place and the flip from left to right of every second one.

    Args:
        rotation: half of the crops are turned by up to so many degrees to either side.
        scale: smallest and largest enlargement; its logarithm is spread evenly between.
        points_share: the share of crops that are placed so that a point, drawn from those in the image, lies inside.
        quarter_turns: whether every crop is also turned by 0, 90, 180 or 270 degrees, for images without an upside,
            such as those of a microscope.
    """

    rotation: Annotated[float, Range(0, 180)] = 10.0
    scale: tuple[float, float] = (1.0, 1.0)
    points_share: Annotated[float, Range(0, 1)] = 0.0
    quarter_turns: bool = False

    def __post_init__(self) -> None:
        check(Augmentation, vars(self), "augmentation.")
        if len(self.scale) != 2 or not 0.5 <= self.scale[0] <= self.scale[1] <= 2:
            # beyond that, interpolation would leave pixels out
            raise SettingError(
                f"augmentation.scale: {list(self.scale)}; give two numbers from 0.5 to 2, e.g. [0.8, 1.25]"
            )


#: what is done where nothing else is said
USUAL = Augmentation()


@dataclass(frozen=True)
class Crops:
    """What a step learns from.

    Args:
        size: side of the training crops in pixels.
        batch_size: crops a step.
        augmentation: how crops are turned, scaled and placed.
        cache_gb: bound of the memory for decoded images in gigabytes; those beyond are decoded each time.
        num_workers: processes that prepare batches; 0 for none.
    """

    size: Annotated[int, Range(16, 8192, step=8)] = 128
    batch_size: Annotated[int, Range(1)] = 4
    augmentation: Augmentation = USUAL
    cache_gb: Annotated[float, Range(0, 1048576)] = 2.0
    num_workers: Annotated[int, Range(0)] = 0

    def __post_init__(self) -> None:
        check(Crops, vars(self), size="crop_size")

    @property
    def cache_bytes(self) -> int:
        """``cache_gb`` in bytes."""
        return int(self.cache_gb * (1 << 30))


@dataclass(frozen=True)
class Recipe:
    """How weights are trained; the defaults are those of NAS-Count's search (section 4.1.1).

    Args:
        optimizer: ``adam``, ``adamw`` or ``sgd`` (momentum 0.9).
        betas: of Adam, how long it remembers the gradient and its size.
        learning_rate: of the optimiser at the start; it falls along a cosine.
        final_learning_rate: of the optimiser at the end.
        weight_decay: of the weights.
        gradient_clip: largest norm of the gradient; null for no limit.
        loss: what is minimised: a name (mse, sppl, sal, scl, euclidean_ssim, count, bayesian, dm_count, poisson, zip),
            or names with weights such as {sppl: 1, bayesian: 0.1}; by default the scale pyramid loss (sppl) with the
            pyramid that is searched, or was found, and mse where there is none.
    """

    optimizer: str = "adam"
    betas: Annotated[tuple[float, float], Range(0, 1, below=True)] = (0.9, 0.999)
    learning_rate: Annotated[float, Range(0, above=True)] = 1e-3
    final_learning_rate: Annotated[float, Range(0)] = 4e-4
    weight_decay: Annotated[float, Range(0)] = 1e-4
    gradient_clip: Annotated[float, Range(0, above=True)] | None = None
    loss: dict[str, Any] | str | None = None

    def __post_init__(self) -> None:
        check(type(self), vars(self))
        check_choice("optimizer", self.optimizer, OPTIMIZERS)

    @property
    def final_share(self) -> float:
        """The share of the first learning rate that is left at the end."""
        return self.final_learning_rate / self.learning_rate

    def adopt(self, checkpoint: dict[str, Any]) -> None:
        """Give a checkpoint of Lightning's this learning rate, so that a run can go on with another one."""
        schedulers = checkpoint.get("lr_schedulers", [])
        scheduled = {rate for scheduler in schedulers for rate in scheduler["base_lrs"]}
        for group in (group for state in checkpoint.get("optimizer_states", []) for group in state["param_groups"]):
            if (first := group.get("initial_lr")) in scheduled:
                group.update(
                    lr=self.learning_rate * (group["lr"] / first if first else 1), initial_lr=self.learning_rate
                )
        for scheduler in schedulers:
            scheduler["base_lrs"] = [self.learning_rate] * len(scheduler["base_lrs"])

    def make_optimizer(self, parameters: Iterable[Any], fused: bool = False) -> torch.optim.Optimizer:
        """The optimiser of these parameters; ``fused`` is faster and rounds otherwise."""
        common: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay, "fused": fused or None}
        if self.optimizer == "sgd":
            return torch.optim.SGD(parameters, momentum=0.9, **common)
        adam = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
        return adam(parameters, betas=tuple(self.betas), **common)  # type: ignore[arg-type]  # YAML has lists


@dataclass(frozen=True)
class TrainingRecipe(Recipe):
    """How a network is retrained. Squared errors of densities are heavy-tailed: a short memory of their size, and
    clipped gradients.

    Args:
        schedule: ``cosine`` over the budget, or ``paper``: ×0.8 every 15,000 steps (NAS-Count, section 4.1.2).
        average_decay: of the moving average of the weights; 0 for none.
        frozen_norms: the share of the budget, at its end, in which batch norms no longer follow each batch but keep
            their averaged statistics; for small batches of crops that differ much, e.g. 0.3.
        shared_norms: whether the batch norms of several devices see all their batches as one.
        validation_fraction: share of the training images that choose the weights, where the data set has no
            validation part of its own (:meth:`nni_count.data.dataset.Dataset.training_parts`); with 0 all of them
            train, and the weights at the end are kept: their moving average where there is one.
        teacher: a ``model.safetensors`` of the same task, usually of a larger network of any stride, whose maps
            are followed beside the truth, and its features where both networks have a last layer that reads them.
        teacher_weight: of the error against its maps, beside the loss.
        optimizer, betas, learning_rate, final_learning_rate, weight_decay, gradient_clip, loss: see :class:`Recipe`.
    """

    betas: Annotated[tuple[float, float], Range(0, 1, below=True)] = (0.9, 0.99)
    final_learning_rate: Annotated[float, Range(0)] = 0.0
    weight_decay: Annotated[float, Range(0)] = 0.0
    gradient_clip: Annotated[float, Range(0, above=True)] | None = 0.2
    schedule: str = "cosine"
    average_decay: Annotated[float, Range(0, 1, below=True)] = 0.998
    frozen_norms: Annotated[float, Range(0, 1, below=True)] = 0.0
    shared_norms: bool = False
    validation_fraction: Annotated[float, Range(0, 1, below=True)] = 0.1
    teacher: str | Path | None = None
    teacher_weight: Annotated[float, Range(0, above=True)] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("schedule", self.schedule, SCHEDULES)


@dataclass(frozen=True)
class Budget:
    """How long to train: whichever ends first.

    Args:
        max_epochs: passes over the training images; 100 of a retraining that is given no other end.
        max_steps: optimiser steps.
        max_time: time of training in days, hours, minutes and seconds, ``DD:HH:MM:SS``; the start of the command, and
            the validation at the end, which takes each image once, come on top of it.
    """

    max_epochs: Annotated[int, Range(1)] | None = None
    max_steps: Annotated[int, Range(1)] | None = None
    max_time: str | None = None

    def __post_init__(self) -> None:
        check(type(self), vars(self))
        self.timer()

    def timer(self, interval: str = "step") -> Timer:
        """Lightning's timer, which ends a run when the time is over, at the end of a ``step`` or of an ``epoch``."""
        return timer(self.max_time, "max_time", interval)


def timer(time: str | None, name: str, interval: str = "step") -> Timer:
    """Lightning's timer of a duration ``DD:HH:MM:SS``; the name is the setting's, for the error."""
    try:
        made = Timer(time, interval=interval, verbose=False)
    except Exception as error:
        raise SettingError(f"{name}: {time!r} is no duration; write DD:HH:MM:SS, e.g. 00:00:30:00") from error
    if time is not None and not made.time_remaining():
        raise SettingError(f"{name}: {time!r} is no time at all; give a second or more, e.g. 00:00:30:00")
    return made


def check_choice(name: str, value: str, known: Iterable[str]) -> None:
    """Refuse a value that is not among the known ones, which the :class:`SettingError` lists."""
    if value not in known:
        raise SettingError(f"{name}: {value!r} is unknown; choose {' or '.join(known)}")
