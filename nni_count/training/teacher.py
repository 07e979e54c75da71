"""Distillation: a small network follows a larger one's maps beside the truth (Liu et al., Efficient Crowd Counting via
Structured Knowledge Transfer, ACM MM 2020; of maps alone).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nni_count.errors import SettingError
from nni_count.losses.scale_pyramid import DEFAULT_PYRAMID, scale_pyramid_loss
from nni_count.networks import Network
from nni_count.tasks.task import Task


@dataclass(frozen=True, eq=False)
class Teacher:
    """A trained network, which stays as it is, and what of it another learns.

    Args:
        network: in evaluation mode, of any stride.
        task: of the network.
        weight: of what it says beside the truth.
    """

    network: Network
    task: Task
    weight: float

    def check(self, task: Task, stride: int, size: int) -> None:
        """Refuse with a SettingError what a network of that task, map stride and crop size in pixels cannot follow."""
        if not task.follows(self.task):
            raise SettingError(
                f"teacher: its task is {_named(self.task)}, that of the network {_named(task)}; give one of the same"
            )
        if size % (common := math.lcm(stride, self.network.map_stride)):
            raise SettingError(f"crop_size: {size}; with this teacher, give a multiple of {common}")

    def maps(self, images: Tensor, task: Task) -> Tensor:
        """What it says of a batch ``(B, 3, S, S)``, in the scale in which a task's network answers."""
        network, size = self.network, images.shape[-1]
        more = -size % network.multiple
        with torch.no_grad():
            output = network.to(images.device)(F.pad(images, (0, more, 0, more), mode="replicate")).float()
            side = size // network.map_stride
            found = self.task.read(output[..., :side, :side], network.map_stride)
            one = torch.ones_like(found[:1, :, :1, :1])
            return found * (self.task.estimate(one, 1) / task.estimate(one, 1))

    def loss(self, maps: Tensor, taught: Tensor) -> Tensor:
        """The scale pyramid loss of averages between maps and the teacher's, in the larger cells of the two."""
        side = math.gcd(maps.shape[-1], taught.shape[-1])
        one, other = (F.avg_pool2d(some, some.shape[-1] // side) for some in (maps, taught))
        levels = min(len(DEFAULT_PYRAMID), side.bit_length() - 1)
        return self.weight * scale_pyramid_loss(one, other, [nn.AvgPool2d(2)] * levels)


def _named(task: Task) -> str:
    settings = (f"{name} {value}" for name, value in task.settings.items() if value is not None)
    return f"{type(task).__name__} ({', '.join(settings)})"
