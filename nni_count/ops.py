"""The candidate operations of an edge and the poolings of the pyramid, by name (NAS-Count, sections 3.1.1 and 3.2).

One of your own is an entry more: ``OPERATIONS["conv_3x3"] = Operation(lambda channels, affine: …)`` in a module that
your space imports, or an entry point of an installed package, group ``nni_count.operations``, so that every process
knows it. Spaces, networks, drawings, costs and the fused computation then follow; see ``docs/spaces.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Operation:
    """A candidate for an edge.

    Args:
        build: ``(channels, affine) → module``, channels and size kept: ``(B, C, H, W) → (B, C, H, W)``; ``affine`` says
            whether its batch norms scale and shift. What is ReLU → one or two ``Conv2d`` → ``BatchNorm2d`` is computed
            for all edges at once where edges are fused, all else edge by edge beside.
        family: what it is called in the legend of drawings.
        colour: of its family, as matplotlib takes it.
    """

    build: Callable[[int, bool], nn.Module]
    family: str = "other"
    colour: str = "#b83280"


def convolution(channels: int, kernel_size: int, *, dilation: int = 1, affine: bool = True) -> nn.Module:
    """ReLU → convolution → batch norm, channels and size kept: ``(B, C, H, W) → (B, C, H, W)``."""
    padding = dilation * (kernel_size - 1) // 2
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel_size, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    )


def separable(channels: int, kernel_size: int, *, affine: bool = True) -> nn.Module:
    """ReLU → depth-wise → point-wise convolution → batch norm: ``(B, C, H, W) → (B, C, H, W)``."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    )


class Zero(nn.Module):
    """No connection: zeros of the input's shape."""

    def forward(self, features: Tensor) -> Tensor:
        return torch.zeros_like(features)


NONE = "none"
SKIP = "skip"

# family and colour
_POINTWISE = ("1×1 convolution", "#6b46c1")
_DILATED = ("dilated", "#2b6cb0")
_SEPARABLE = ("depth-wise separable", "#c05621")

#: name → operation; the nine candidates of the paper, in its order, and those that others add: here, or by an entry
#: point of any package, which :mod:`nni_count.architecture` reads
OPERATIONS: dict[str, Operation] = {
    "conv_1x1": Operation(lambda channels, affine: convolution(channels, 1, affine=affine), *_POINTWISE),
    "dil_conv_3x3": Operation(lambda channels, affine: convolution(channels, 3, dilation=2, affine=affine), *_DILATED),
    "dil_conv_5x5": Operation(lambda channels, affine: convolution(channels, 5, dilation=2, affine=affine), *_DILATED),
    "dil_conv_7x7": Operation(lambda channels, affine: convolution(channels, 7, dilation=2, affine=affine), *_DILATED),
    "sep_conv_3x3": Operation(lambda channels, affine: separable(channels, 3, affine=affine), *_SEPARABLE),
    "sep_conv_5x5": Operation(lambda channels, affine: separable(channels, 5, affine=affine), *_SEPARABLE),
    "sep_conv_7x7": Operation(lambda channels, affine: separable(channels, 7, affine=affine), *_SEPARABLE),
    SKIP: Operation(lambda channels, affine: nn.Identity(), "skip", "#2f855a"),
    NONE: Operation(lambda channels, affine: Zero(), "none (contributes nothing)", "#8a8a8a"),
}

#: name → builder of a pooling that halves each side; the padding makes every size halve exactly,
#: and an average leaves the padding out
POOLINGS: dict[str, Callable[[], nn.Module]] = {
    "max_2x2": lambda: nn.MaxPool2d(2, 2),
    "max_4x4": lambda: nn.MaxPool2d(4, 2, padding=1),
    "max_6x6": lambda: nn.MaxPool2d(6, 2, padding=2),
    "avg_2x2": lambda: nn.AvgPool2d(2, 2),
    "avg_4x4": lambda: nn.AvgPool2d(4, 2, padding=1, count_include_pad=False),
    "avg_6x6": lambda: nn.AvgPool2d(6, 2, padding=2, count_include_pad=False),
}
