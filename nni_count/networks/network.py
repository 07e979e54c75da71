"""What every network has beside its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from nni_count.errors import SettingError
from nni_count.runs.ranges import Range

CHANNELS = Range(1, 4096)
#: of an estimate and its target, ``(B, K, h, w)`` each → a scalar
Loss = Callable[[Tensor, Tensor], Tensor]


class Network(nn.Module):
    """Maps an image ``(B, 3, H, W)`` to ``(B, K, H / map_stride, W / map_stride)``.

    Attributes:
        multiple: what H and W must be divisible by.
        map_stride: pixels a side of a cell of the map.
        settings: what builds the network again, plain JSON.
    """

    multiple: int
    map_stride: int
    settings: dict[str, Any]

    def forward(self, image: Tensor) -> Tensor:
        raise NotImplementedError

    def traceable(self) -> nn.Module:
        """What computes the same, and whose steps depend neither on the size of the image nor on what it shows, so that
        they can be exported; by default the network itself.
        """
        return self

    def maps(self, image: Tensor) -> list[Tensor]:
        """All maps that training compares with the truth, each of the shape of :meth:`forward`'s, which is the last."""
        return [self(image)]

    def last_layer(self) -> nn.Module | None:
        """What reads the map from features, each of a place in the image; None where there is none such. By default the
        one that is called ``head``.
        """
        return getattr(self, "head", None)

    def training_loss(self, image: Tensor, target: Tensor, loss: Loss, progress: float) -> Tensor:
        """What a training step minimises, a scalar; by default the sum of the losses of all :meth:`maps`.

        Args:
            image: ``(B, 3, H, W)``.
            target: ``(B, K, H / map_stride, W / map_stride)``.
            loss: of an output and its target; where it has a ``read``, that gives the maps that an output says.
            progress: the share of the training that is over, from 0 to 1, for networks that are trained in stages.
        """
        return torch.stack([loss(estimate.float(), target) for estimate in self.maps(image)]).sum()


def number_of_parameters(module: nn.Module) -> int:
    """The number of weights that are trained."""
    return sum(parameter.numel() for parameter in module.parameters())


@contextmanager
def at_most(parameters: int) -> Iterator[None]:
    """Refuse with a SettingError to build networks of more weights, before they take memory on the device ``meta``."""
    left = parameters

    def count(_: nn.Module, __: str, parameter: nn.Parameter) -> None:
        nonlocal left
        left -= 0 if _planned else parameter.numel()
        if left < 0:
            raise SettingError(f"network: has more than {parameters:,} weights, for which its file is too small")

    counting = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        counting.remove()


_planned: list[None] = []  # one for each place in which we are


@contextmanager
def planned() -> Iterator[None]:
    """Where a network is built without memory that another one takes a part of; :func:`at_most` does not count it."""
    _planned.append(None)
    try:
        with torch.device("meta"):
            yield
    finally:
        _planned.pop()


def draw_weights(draw: Callable[[Tensor], Any], *parts: nn.Module, of: type[nn.Module] = nn.Conv2d) -> None:
    """First weights of all layers of a kind, drawn in place as by ``torch.nn.init``; biases are zero."""
    for module in (module for part in parts for module in part.modules() if isinstance(module, of)):
        draw(cast(Tensor, module.weight))
        if module.bias is not None:
            nn.init.zeros_(cast(Tensor, module.bias))


def check_channels(**channels: Any) -> None:
    """Raise a SettingError where a setting that counts channels, given by its name, is none of :data:`CHANNELS`."""
    for name, value in channels.items():
        if not CHANNELS.holds(value, whole=True):
            raise SettingError(f"network.{name}: {value!r}; {CHANNELS}")
