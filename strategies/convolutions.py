"""The convolutions on all edges that leave a node, as one for each operation or for several at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from strategies.functions import NarrowConvolution, reach

#: up to so many channels, a depth-wise and a point-wise convolution are faster as one dense convolution
COMPOSED = 16
#: up to so many edges, or so many channels, one convolution for all sizes of kernels is faster than one for each
FEW = 2
NARROW = 2

#: an operation: on every edge its convolution, or both of its convolutions
Kind = Sequence[Sequence[Any]]
#: features ``(B, C, H, W)`` and operations → side by side, edge by edge for each, ``(B, operations · edges · C, H, W)``
Step = Callable[[Tensor, Sequence[Kind]], Tensor]


def is_taken(operation: nn.Module) -> bool:
    """Whether an operation is ReLU → convolution → batch norm, or has two convolutions of which the second is dense,
    all without bias, scale or shift, channels and size kept, the norm's other settings torch's.
    """
    if type(operation) is not nn.Sequential or len(operation) not in (3, 4):
        return False
    relu, *convolutions, norm = cast(Any, operation)
    return (
        all(map(_is_plain, convolutions))
        and convolutions[0].groups in (1, convolutions[0].in_channels)
        and convolutions[-1].groups == 1
        and str(relu) == str(nn.ReLU())
        and str(norm) == str(nn.BatchNorm2d(convolutions[0].in_channels, affine=False))
    )


def _is_plain(layer: Any) -> bool:
    return (
        type(layer) is nn.Conv2d
        and layer.in_channels == layer.out_channels
        and layer.bias is None
        and layer.stride == (1, 1)
        and layer.padding_mode == "zeros"
        and all(size % 2 for size in layer.kernel_size)
        and layer.padding == reach(layer.kernel_size, layer.dilation)
    )


def calls(kinds: Mapping[int, Kind]) -> list[tuple[Step, list[int]]]:
    """How operations are computed, given by their numbers: by which step, and those that it takes together."""
    found: dict[Any, tuple[Step, list[int]]] = {}
    for number, kind in kinds.items():
        layer, *others = kind[0]
        step = two_steps if others and not _is_composed(layer, *others) else one_step
        apart = layer.in_channels > COMPOSED or (layer.in_channels > NARROW and len(kind) > FEW)
        alike = _widest([some for some in kinds.values() if len(some[0]) == len(kind[0])])
        # a call costs more than the zeros that fill up a smaller kernel; the dilation of a 1×1 kernel says nothing
        dilation = (alike if layer.kernel_size == (1, 1) else layer).dilation
        key = number if apart or step is two_steps else (len(others), dilation)
        found.setdefault(key, (step, []))[1].append(number)
    return list(found.values())


def _widest(kinds: Sequence[Kind]) -> Any:
    """The first convolution of the kind whose kernel is largest."""
    return max((kind[0][0] for kind in kinds), key=lambda layer: int(max(layer.kernel_size)))


def _is_composed(deep: Any, point: Any) -> bool:
    return bool(deep.groups == deep.in_channels <= COMPOSED and point.kernel_size == (1, 1))


def one_step(features: Tensor, kinds: Sequence[Kind]) -> Tensor:
    """Kinds that are all dense, or all depth-wise and point-wise, as one dense convolution with the largest of their
    kernels.
    """
    size = [max(side) for side in zip(*(kind[0][0].kernel_size for kind in kinds), strict=True)]
    if len(kinds[0][0]) > 1:  # nothing lies between the two convolutions, so they are one
        deep = _joined([torch.stack([first.weight for first, _ in kind]) for kind in kinds], size)  # (·, C, 1, k, k)
        point = torch.stack([second.weight for kind in kinds for _, second in kind])  # (·, C, C, 1, 1)
        kernel = (point * deep.transpose(1, 2)).flatten(0, 1)
    else:
        kernel = _joined([torch.cat([layer.weight for (layer,) in kind]) for kind in kinds], size)
    if size == [1, 1]:
        return F.linear(features.movedim(1, 3), kernel.flatten(1)).movedim(3, 1)
    dilation = _widest(kinds).dilation
    if features.shape[1] > NARROW or features.is_cuda or torch.is_autocast_enabled(features.device.type):
        return F.conv2d(features, kernel, None, 1, reach(size, dilation), dilation)
    return cast(Tensor, NarrowConvolution.apply(features, kernel, dilation))


def _joined(kernels: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """Kernels ``(…, h, w)`` of several sizes one after the other, the smaller ones with zeros around them."""
    filled = []
    for kernel in kernels:
        down, across = ((side - own) // 2 for side, own in zip(size, kernel.shape[-2:], strict=True))
        filled.append(F.pad(kernel, [across, across, down, down]) if down or across else kernel)
    return torch.cat(filled) if len(filled) > 1 else filled[0]


def two_steps(features: Tensor, kinds: Sequence[Kind]) -> Tensor:
    """A kind of two convolutions, the first depth-wise or dense, the second dense."""
    (kind,) = kinds
    (first, second), edges = kind[0], len(kind)
    channels = features.shape[1]
    deep, padding = first.groups == channels, reach(first.kernel_size, first.dilation)
    # of depth-wise ones, a channel's filters of all edges lie together, as its group wants
    weight = torch.stack([layer.weight for layer, _ in kind], int(deep)).flatten(0, 1)
    between = F.conv2d(features, weight, None, 1, padding, first.dilation, first.groups)
    if deep:
        between = F.channel_shuffle(between, channels)
    weight = torch.cat([layer.weight for _, layer in kind])
    return F.conv2d(between, weight, None, 1, reach(second.kernel_size, second.dilation), second.dilation, edges)
