"""A choice through which a share of the channels passes, and candidates narrowed to that share."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from nni_count.searching.nni import DifferentiableMixedLayer, MutableModule

REMEDY = "search this space with DARTS or GDAS"


def narrow(module: nn.Module, k: int) -> nn.Module:
    """The same module with a k-th of the channels, its weights new; the given one stays as it is.

    It narrows convolutions, batch norms, what contains them, and modules without parameters, which it copies.

    Raises:
        ValueError: k does not divide the channels.
        TypeError: a module of another kind has parameters, or holds choices of its own.
    """
    if type(module) is nn.Conv2d:
        return _narrow_convolution(module, k)
    if type(module) is nn.BatchNorm2d:
        return nn.BatchNorm2d(
            _divided(module.num_features, k), module.eps, module.momentum, module.affine, module.track_running_stats
        )
    if isinstance(module, MutableModule):
        raise TypeError(f"{type(module).__name__}, a choice within a choice; {REMEDY}")
    if (
        next(module.parameters(recurse=False), None) is not None
        or next(module.buffers(recurse=False), None) is not None
    ):
        raise TypeError(f"{type(module).__name__} has parameters and is neither Conv2d nor BatchNorm2d; {REMEDY}")
    narrowed = copy.copy(module)
    narrowed._modules = {name: child and narrow(child, k) for name, child in module._modules.items()}
    return narrowed


def _narrow_convolution(module: nn.Conv2d, k: int) -> nn.Conv2d:
    channels_in, channels_out = _divided(module.in_channels, k), _divided(module.out_channels, k)
    groups = channels_in if module.groups == module.in_channels else module.groups
    if channels_in % groups or channels_out % groups:
        raise ValueError(f"k = {k} leaves {channels_in} channels, which {groups} groups do not divide; {REMEDY}")
    return nn.Conv2d(
        channels_in,
        channels_out,
        module.kernel_size,  # type: ignore[arg-type]  # the constructor takes what it stores
        module.stride,  # type: ignore[arg-type]
        module.padding,  # type: ignore[arg-type]
        module.dilation,  # type: ignore[arg-type]
        groups,
        module.bias is not None,
        module.padding_mode,
    )


def _divided(channels: int, k: int) -> int:
    if channels % k:
        times = k // math.gcd(k, channels)
        raise ValueError(
            f"k = {k} does not divide {channels} channel(s); choose a k that divides those of every choice, "
            f"or a space {times} times as wide"
        )
    return channels // k


class Channels:
    """Which channels pass the candidates: one draw a phase for each number of channels, shared by all edges."""

    def __init__(self, k: int, random: bool):
        self.k = k
        self.random = random
        self.drawn: dict[int, Tensor] = {}
        self.stale: set[int] = set()

    def of(self, features: Tensor) -> Tensor:
        """Their numbers, ascending, for features ``(B, C, H, W)``: ``(C / k,)``."""
        total = features.shape[1]
        if total not in self.drawn:
            self.drawn[total] = self._draw(total)
        elif total in self.stale:
            self._redraw(total)
        self.drawn[total] = self.drawn[total].to(features.device)
        return self.drawn[total]

    def renew(self) -> None:
        """Draw anew where they are asked for next."""
        self.stale = set(self.drawn)

    def redraw(self) -> None:
        """Draw at once what is to be drawn anew, since a recorded pass does not ask."""
        for total in [total for total in self.drawn if total in self.stale]:
            self._redraw(total)

    def _redraw(self, total: int) -> None:
        self.stale.discard(total)
        self.drawn[total].copy_(self._draw(total), non_blocking=True)  # the tensor that a recorded pass reads

    def _draw(self, total: int) -> Tensor:
        # on the CPU, so that a seed draws the same on every device
        return torch.randperm(total)[: total // self.k].sort().values

    def share(self, features: Tensor) -> Tensor:
        """S∗x, ``(B, C / k, H, W)``."""
        if not self.random:
            return features[:, : features.shape[1] // self.k]
        if _channels_last(features):  # chosen along dimension 1, they would lose the memory format
            return features.movedim(1, 3).index_select(3, self.of(features)).movedim(3, 1)
        return features.index_select(1, self.of(features))

    def rejoin(self, features: Tensor, mixed: Tensor) -> Tensor:
        """What the candidates made of S∗x, with the channels that passed by."""
        mixed = mixed.to(features.dtype)
        if not self.random:
            # shuffled, so that other channels pass the candidates of the next edge
            return torch.nn.functional.channel_shuffle(torch.cat([mixed, features[:, mixed.shape[1] :]], 1), self.k)
        if _channels_last(features):
            return features.movedim(1, 3).index_copy(3, self.of(features), mixed.movedim(1, 3)).movedim(3, 1)
        return features.index_copy(1, self.of(features), mixed)


def _channels_last(features: Tensor) -> bool:
    return features.is_contiguous(memory_format=torch.channels_last)


class EvenChannels(Channels):
    """Every k-th channel, where nothing is to be drawn: a draw is as good as another."""

    def _draw(self, total: int) -> Tensor:
        return torch.arange(0, total, self.k)


class PartialLayer(DifferentiableMixedLayer):
    """Σ softmax(α)_i · o_i(S∗x) + (1 − S)∗x, the candidates o_i at a k-th of the width.

    Args:
        channels: S, of all layers of a space.
        others: as for NNI's ``DifferentiableMixedLayer``.
    """

    def __init__(self, *others: Any, channels: Channels):
        super().__init__(*others)
        self.channels = channels

    def forward(self, features: Tensor) -> Tensor:
        """``(B, C, H, W)`` → the same shape."""
        return self.channels.rejoin(features, super().forward(self.channels.share(features)))

    def resample(self, memo: Any) -> dict[str, Any]:
        """Before each phase other channels are drawn."""
        self.channels.renew()
        return {}

    def freeze(self, sample: Any) -> nn.Module:
        """The chosen candidate, past which the other channels go on passing."""
        return PartialOperation(super().freeze(sample), EvenChannels(self.channels.k, self.channels.random))


class PartialOperation(nn.Module):
    """o(S∗x) + (1 − S)∗x for one operation o at a k-th of the width."""

    def __init__(self, operation: nn.Module, channels: Channels):
        super().__init__()
        self.operation = operation
        self.channels = channels

    def forward(self, features: Tensor) -> Tensor:
        """``(B, C, H, W)`` → the same shape."""
        return self.channels.rejoin(features, self.operation(self.channels.share(features)))
