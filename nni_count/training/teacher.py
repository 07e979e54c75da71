"""Distillation: a small network follows a larger one's maps beside the truth (Liu et al., Efficient Crowd Counting via
Structured Knowledge Transfer, ACM MM 2020), and where both have features from which the map is read, where in the image
those are large (Zagoruyko and Komodakis, Paying More Attention to Attention, ICLR 2017).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

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

    Attributes:
        shown, seen: of one step, what the last layers of the teacher and of the network that follows were given.
    """

    network: Network
    task: Task
    weight: float
    shown: list[Tensor] = field(default_factory=list)
    seen: list[Tensor] = field(default_factory=list)

    @contextmanager
    def followed_by(self, network: Network) -> Iterator[None]:
        """Where a network is trained whose features follow, if it and the teacher have a last layer."""
        own, layer = self.network.last_layer(), network.last_layer()
        if own is None or layer is None:
            yield
            return
        hooks = (
            own.register_forward_pre_hook(lambda _, given: self.shown.append(given[0])),
            layer.register_forward_pre_hook(lambda part, given: self.seen.append(given[0]) if part.training else None),
        )
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

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
        self.shown.clear()
        self.seen.clear()
        more = -size % network.multiple
        with torch.no_grad():
            output = network.to(images.device)(F.pad(images, (0, more, 0, more), mode="replicate")).float()
            for place, features in enumerate(self.shown):  # without what was padded
                kept = round(features.shape[-1] * size / (size + more))
                self.shown[place] = features[..., :kept, :kept]
            side = size // network.map_stride
            found = self.task.read(output[..., :side, :side], network.map_stride)
            one = torch.ones_like(found[:1, :, :1, :1])
            return found * (self.task.estimate(one, 1) / task.estimate(one, 1))

    def loss(self, maps: Tensor, taught: Tensor) -> Tensor:
        """The scale pyramid loss of averages between maps and the teacher's, in the larger cells of the two. Once
        a step it is raised by how differently the features lie.
        """
        side = math.gcd(maps.shape[-1], taught.shape[-1])
        one, other = (F.avg_pool2d(some, some.shape[-1] // side) for some in (maps, taught))
        levels = min(len(DEFAULT_PYRAMID), side.bit_length() - 1)
        error = self.weight * scale_pyramid_loss(one, other, [nn.AvgPool2d(2)] * levels)
        if not (self.seen and self.shown):
            return error
        return error + error.detach() * attention_loss(self.seen.pop(), self.shown.pop())


def attention_loss(features: Tensor, taught: Tensor) -> Tensor:
    """How differently features ``(B, C, h, w)`` and others ``(B, D, k, l)`` lie in their images, from 0 to 2: the mean
    square of each place's channels, all places together as a vector of length 1 (ICLR 2017, equation 2, for p = 2).
    """
    side = min(features.shape[-1], taught.shape[-1])
    maps = (some.float().square().mean(1, keepdim=True) for some in (features, taught))
    one, other = (F.normalize(F.adaptive_avg_pool2d(some, side).flatten(1)) for some in maps)
    return (one - other).square().sum(1).mean()


def _named(task: Task) -> str:
    settings = (f"{name} {value}" for name, value in task.settings.items() if value is not None)
    return f"{type(task).__name__} ({', '.join(settings)})"
