"""TEDNet: a trellis of decode blocks over an encoder of few poolings (Jiang et al., Crowd Counting and Density
Estimation by Trellis Encoder-Decoder Networks, CVPR 2019).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from nni_count.networks.hand_designed import HandDesigned

KERNELS = (1, 3, 5, 7)
#: encode blocks: width, and dilation of the kernels above 1
BLOCKS = ((16, 1), (32, 1), (32, 1), (64, 1), (64, 1), (128, 1), (128, 1), (256, 2), (256, 4))
#: blocks, counted from 1, after which a 2×2 max-pool halves the size
POOLED = (1, 3)
#: blocks, counted from 1, from which a decoding path starts
TAPPED = (3, 5, 7, 9)


def finish(convolution: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    """The convolution, which has no bias → batch norm → ReLU."""
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True))


def plain(channels: int, width: int, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    """A convolution of kept size."""
    padding = dilation * (kernel // 2)
    return finish(nn.Conv2d(channels, width, kernel, padding=padding, dilation=dilation, bias=False))


def transposed(channels: int, width: int, factor: int) -> nn.Sequential:
    """A 3×3 transposed convolution that makes the size ``factor`` times larger."""
    padding = factor - 1
    return finish(nn.ConvTranspose2d(channels, width, 3, stride=factor, padding=1, output_padding=padding, bias=False))


class Encode(nn.Module):
    """Kernels of four sizes side by side, a quarter of ``width`` each: ``(B, C, H, W)`` → ``(B, width, H, W)``.

    Those above 1 see the input through a 1×1 convolution as wide as they are, but not the image.
    """

    def __init__(self, channels: int, width: int, dilation: int, reduce: bool):
        super().__init__()
        part = width // len(KERNELS)
        self.branches = nn.ModuleList()
        for kernel in KERNELS:
            reduced = reduce and kernel > 1
            convolution = plain(part if reduced else channels, part, kernel, dilation)
            self.branches.append(nn.Sequential(plain(channels, part), convolution) if reduced else convolution)

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([branch(features) for branch in self.branches], dim=1)


class Decode(nn.Module):
    """Joins a map with the deeper one beside it: ``(B, C, f·h, f·w)`` and ``(B, D, h, w)`` → ``(B, C, f·h, f·w)``."""

    def __init__(self, channels: int, deeper: int, factor: int):
        super().__init__()
        self.left = plain(channels, channels)
        self.right = transposed(deeper, channels, factor)
        self.join = plain(2 * channels, channels)

    def forward(self, features: Tensor, deeper: Tensor) -> Tensor:
        joined: Tensor = self.join(torch.cat([self.left(features), self.right(deeper)], dim=1))
        return joined


class TEDNet(HandDesigned):
    """TEDNet: ``(B, in_channels, H, W)`` → ``(B, out_channels, H, W)``; 1,639,348 parameters for RGB.

    A column of the trellis joins each map of the column before with its deeper neighbour; four columns of 4, 3, 2 and
    1 maps. The shallowest of each column is the end of a path and gives a density map; that of the last is the answer.
    Where the paper leaves the layers open they are read so that the published number of parameters, 1.63M, is met:
    batch norm in the place of biases, and a transposed convolution before each map.

    Args:
        in_channels: channels of the image.
        out_channels: maps that are regressed.
    """

    multiple = 4
    map_stride = 1

    def __init__(self, in_channels: int = 3, out_channels: int = 1):
        super().__init__(in_channels, out_channels)
        self.blocks = nn.ModuleList()
        channels = in_channels
        for number, (width, dilation) in enumerate(BLOCKS, 1):
            self.blocks.append(Encode(channels, width, dilation, reduce=number > 1))
            channels = width
        column = [(BLOCKS[number - 1][0], 2 if number <= POOLED[-1] else 4) for number in TAPPED]  # width, stride
        self.heads = nn.ModuleList([_head(column[0][0], out_channels)])
        self.columns = nn.ModuleList()
        while len(column) > 1:
            pairs = list(pairwise(column))
            self.columns.append(
                nn.ModuleList(Decode(width, deep, below // stride) for (width, stride), (deep, below) in pairs)
            )
            column = column[:-1]
            self.heads.append(_head(column[0][0], out_channels))

    def last_layer(self) -> nn.Module:
        return self.heads[-1]

    def forward(self, image: Tensor) -> Tensor:
        density: Tensor = self.heads[-1](self._paths(image)[-1])
        return density

    def maps(self, image: Tensor) -> list[Tensor]:
        """The maps at the ends of the four paths, each ``(B, out_channels, H, W)``, all of which the paper supervises;
        the last is what :meth:`forward` gives.
        """
        return [head(path) for head, path in zip(self.heads, self._paths(image), strict=True)]

    def _paths(self, image: Tensor) -> list[Tensor]:
        features, column = image, []
        for number, block in enumerate(self.blocks, 1):
            features = block(features)
            if number in TAPPED:
                column.append(features)
            if number in POOLED:
                features = nn.functional.max_pool2d(features, 2)
        ends = [column[0]]
        for blocks in self.columns:
            assert isinstance(blocks, nn.ModuleList)
            column = [block(*pair) for block, pair in zip(blocks, pairwise(column), strict=True)]
            ends.append(column[0])
        return ends


def _head(channels: int, out_channels: int) -> nn.Sequential:
    """From half the size to a density map of full size."""
    return nn.Sequential(transposed(channels, channels // 2, 2), nn.Conv2d(channels // 2, out_channels, 1))
