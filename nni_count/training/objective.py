"""What a step minimises: the loss of a network's output, as the task reads it, and of points, where it needs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nni_count.data.sample import Sample
from nni_count.errors import SettingError
from nni_count.losses.scene import Scene
from nni_count.tasks.task import Distance, Task
from nni_count.training.teacher import Teacher


@dataclass(frozen=True)
class Objective:
    """What retraining and search minimise.

    Args:
        task: reads outputs, and makes of the distance what is minimised.
        distance: a sum of losses by name, or a space's own loss.
        stride: pixels a side of a cell of the network's map.
        instead: by name, functions in the place of terms of the distance.
        teacher: what is followed beside the truth.
    """

    task: Task
    distance: Callable[..., Tensor]
    stride: int
    instead: Mapping[str, Distance] = field(default_factory=dict)
    teacher: Teacher | None = None

    @property
    def needs_points(self) -> bool:
        """Whether a batch must come with its points."""
        return bool(getattr(self.distance, "needs_points", False))

    def of(self, images: Tensor, points: Tensor | None = None) -> BatchLoss:
        """The loss of a batch ``(B, 3, S, S)``, with its points ``(N, 3)`` as a :class:`Scene` has them."""
        taught = None if self.teacher is None else self.teacher.maps(images, self.task)
        return BatchLoss(self, points, taught)

    def check(self, samples: Sequence[Sample], size: int) -> None:
        """Ask for all that a training on crops of ``size`` pixels will ask, before anything is trained.

        Raises:
            SettingError: the task has no points or no head that the loss needs, or the maps are too small for it.
        """
        maps, name = self.task.target_channels, type(self.task).__name__
        if self.needs_points and (found := len(self.task.points(samples[0]) or ())) != maps:
            raise SettingError(
                f"loss: {', '.join(vars(self.distance)['settings'])}: needs points, and {name} has those of {found} of "
                f"its {maps} map(s); choose a loss of maps, such as sppl, or mend the task's points(sample)"
            )
        output = torch.zeros(1, self.task.out_channels, *2 * [-(-size // self.stride)])
        batch = BatchLoss(self, torch.zeros(0, 3), None)
        read = batch.read(output)
        batch.distance(output, read)(read, torch.zeros_like(read))
        if self.teacher is not None:
            self.teacher.check(self.task, self.stride, size)


@dataclass(frozen=True)
class BatchLoss:
    """Of an output and its target, ``(B, C, h, w)`` and ``(B, K, h, w)`` → a scalar, in single precision at least."""

    objective: Objective
    points: Tensor | None
    taught: Tensor | None

    def read(self, output: Tensor) -> Tensor:
        """The maps that an output says, as the task's target has them."""
        return self.objective.task.read(output, self.objective.stride)

    def distance(self, output: Tensor, maps: Tensor) -> Distance:
        """The distance of maps that were read from an output and their target, with all that it needs."""
        task, stride = self.objective.task, self.objective.stride
        more: dict[str, Any] = {"instead": self.objective.instead} if self.objective.instead else {}
        if self.objective.needs_points:
            assert self.points is not None
            density = task.estimate(maps, stride).flatten(0, 1)
            more["scene"] = Scene(density, self.points, stride, task.blocks(output, stride))
        return partial(self.objective.distance, **more)

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(output.device.type, enabled=False):
            output = output.to(torch.promote_types(output.dtype, torch.float32))
            maps = self.read(output)
            loss = self.objective.task.loss(maps, target, self.distance(output, maps))
            teacher, taught = self.objective.teacher, self.taught
            return loss if teacher is None or taught is None else loss + teacher.loss(maps, taught)
