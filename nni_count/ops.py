"""The candidate operations of an edge and the poolings of the pyramid, by name (NAS-Count, sections 3.1.1 and 3.2)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


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

#: name → builder ``(channels, affine) → module``; the nine candidates of the paper, in its order
OPERATIONS: dict[str, Callable[[int, bool], nn.Module]] = {
    "conv_1x1": lambda channels, affine: convolution(channels, 1, affine=affine),
    "dil_conv_3x3": lambda channels, affine: convolution(channels, 3, dilation=2, affine=affine),
    "dil_conv_5x5": lambda channels, affine: convolution(channels, 5, dilation=2, affine=affine),
    "dil_conv_7x7": lambda channels, affine: convolution(channels, 7, dilation=2, affine=affine),
    "sep_conv_3x3": lambda channels, affine: separable(channels, 3, affine=affine),
    "sep_conv_5x5": lambda channels, affine: separable(channels, 5, affine=affine),
    "sep_conv_7x7": lambda channels, affine: separable(channels, 7, affine=affine),
    SKIP: lambda channels, affine: nn.Identity(),
    NONE: lambda channels, affine: Zero(),
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
