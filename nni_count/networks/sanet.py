"""SANet: an encoder of inception-like blocks and a decoder of transposed convolutions (Cao et al., Scale Aggregation
Network for Accurate and Efficient Crowd Counting, ECCV 2018).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nni_count.networks.hand_designed import HandDesigned

KERNELS = (1, 3, 5, 7)
#: channels of the four blocks; with 128 at the end the published 0.91M parameters are not met
WIDTHS = (64, 128, 128, 64)


def unit(channels: int, width: int, kernel: int) -> list[nn.Module]:
    """Convolution of kept size → instance norm that scales and shifts, and so replaces the bias → ReLU."""
    return [
        nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False),
        nn.InstanceNorm2d(width, affine=True),
        nn.ReLU(inplace=True),
    ]


def doubled(channels: int, width: int) -> list[nn.Module]:
    """The same with a 2×2 transposed convolution that doubles the size."""
    return [nn.ConvTranspose2d(channels, width, 2, stride=2, bias=False), *unit(width, width, 1)[1:]]


class Aggregation(nn.Module):
    """Kernels of four sizes side by side, a quarter of the channels each: ``(B, C, H, W)`` → ``(B, width, H, W)``.

    Args:
        channels: that arrive.
        width: that leave.
        reduced: channels to which a 1×1 convolution brings the input of the kernels above 1; 0 for none.
    """

    def __init__(self, channels: int, width: int, reduced: int):
        super().__init__()
        self.branches = nn.ModuleList()
        for kernel in KERNELS:
            layers = unit(channels, reduced, 1) if reduced and kernel > 1 else []
            self.branches.append(
                nn.Sequential(*layers, *unit(reduced if layers else channels, width // len(KERNELS), kernel))
            )

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([branch(features) for branch in self.branches], dim=1)


def aggregations(in_channels: int) -> list[Aggregation]:
    """The encoder's four blocks; the first, which sees the image, does not reduce it."""
    arriving = (in_channels, *WIDTHS)
    return [Aggregation(arriving[n], width, width // 2 if n else 0) for n, width in enumerate(WIDTHS)]


class SANet(HandDesigned):
    """SANet: ``(B, in_channels, H, W)`` → ``(B, out_channels, H, W)``; 914,801 parameters for RGB.

    Instance norm looks at one image, or crop, at a time, so a crop's map is not that part of its image's map; it can
    also collapse to a uniform map.

    Args:
        in_channels: channels of the image.
        out_channels: maps that are regressed.
    """

    multiple = 16  # the encoder divides by 8, and instance norm needs more than one value
    map_stride = 1

    def __init__(self, in_channels: int = 3, out_channels: int = 1):
        super().__init__(in_channels, out_channels)
        first, *others = aggregations(in_channels)
        self.encoder = nn.Sequential(first, *(layer for block in others for layer in (nn.MaxPool2d(2), block)))
        self.decoder = nn.Sequential(
            *unit(WIDTHS[-1], 64, 9),
            *doubled(64, 64),
            *unit(64, 32, 7),
            *doubled(32, 32),
            *unit(32, 16, 5),
            *doubled(16, 16),
            *unit(16, 16, 3),
            nn.Conv2d(16, out_channels, 1),
        )

    def last_layer(self) -> nn.Module:
        return self.decoder[-1]

    def forward(self, image: Tensor) -> Tensor:
        density: Tensor = self.decoder(self.encoder(image))
        return density
