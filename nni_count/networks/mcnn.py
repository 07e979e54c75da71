"""MCNN: three columns with receptive fields of three sizes (Zhang et al., Single-Image Crowd Counting via
Multi-Column Convolutional Neural Network, CVPR 2016, figure 3).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nni_count.networks.hand_designed import HandDesigned

#: a column: the kernel of each convolution and its width
COLUMNS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((9, 16), (7, 32), (7, 16), (7, 8)),
    ((7, 20), (5, 40), (5, 20), (5, 10)),
    ((5, 24), (3, 48), (3, 24), (3, 12)),
)


def column(channels: int, plan: tuple[tuple[int, int], ...]) -> nn.Sequential:
    """Four convolutions with ReLU, a 2×2 max-pool after each of the first two: a quarter of the size."""
    layers: list[nn.Module] = []
    for number, (kernel, width) in enumerate(plan):
        layers += [nn.Conv2d(channels, width, kernel, padding=kernel // 2), nn.ReLU(inplace=True)]
        if number < 2:
            layers.append(nn.MaxPool2d(2))
        channels = width
    return nn.Sequential(*layers)


class MCNN(HandDesigned):
    """MCNN: ``(B, in_channels, H, W)`` → ``(B, out_channels, H / 4, W / 4)``; 133,705 parameters for RGB.

    The columns are not trained one by one first, as the paper did; the networks are compared trained alike.

    Args:
        in_channels: channels of the image.
        out_channels: maps that are regressed.
    """

    multiple = 4
    map_stride = 4

    def __init__(self, in_channels: int = 3, out_channels: int = 1):
        super().__init__(in_channels, out_channels)
        self.columns = nn.ModuleList(column(in_channels, plan) for plan in COLUMNS)
        self.head = nn.Conv2d(sum(plan[-1][1] for plan in COLUMNS), out_channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        density: Tensor = self.head(torch.cat([column(image) for column in self.columns], dim=1))
        return density
