"""U-Net: a decoder that sees the encoder's features again (Ronneberger et al., U-Net: Convolutional Networks for
Biomedical Image Segmentation, MICCAI 2015), of any width; the yardstick of dense regression.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nni_count.errors import SettingError
from nni_count.networks.hand_designed import HandDesigned
from nni_count.runs.ranges import Range, check


def block(channels: int, width: int) -> nn.Sequential:
    """Two 3×3 convolutions of kept size, each with batch norm, which the published one has not, and ReLU."""
    layers: list[nn.Module] = []
    for arriving in (channels, width):
        layers += [nn.Conv2d(arriving, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class UNet(HandDesigned):
    """U-Net: ``(B, in_channels, H, W)`` → ``(B, out_channels, H / map_stride, W / map_stride)``.

    Args:
        in_channels: channels of the image.
        out_channels: maps that are regressed.
        width: channels of the first level; each further one has twice as many. 64 in the paper.
        map_stride: pixels a side of a cell of the map, 1, 2 or 4: the decoder ends there.
        levels: of the encoder, each at half the size of the one before; 5 in the paper.

    Raises:
        SettingError: a setting is out of its range.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 1,
        width: Annotated[int, Range(1, 1024)] = 16,
        map_stride: int = 1,
        levels: Annotated[int, Range(4, 8)] = 5,
    ):
        check(UNet.__init__, {"width": width, "levels": levels}, "network.")
        super().__init__(in_channels, out_channels, width=width, map_stride=map_stride, levels=levels)
        if type(map_stride) is not int or map_stride not in (1, 2, 4):
            raise SettingError(f"network.map_stride: {map_stride!r}; choose 1, 2 or 4")
        self.map_stride, self.multiple = map_stride, 1 << (levels - 1)
        widths = [width << level for level in range(levels)]
        self.encoder = nn.ModuleList(map(block, [in_channels, *widths], widths))
        decoded = widths[{1: 0, 2: 1, 4: 2}[map_stride] : -1]  # of the levels that are decoded
        self.decoder = nn.ModuleList(block(2 * own + own, own) for own in reversed(decoded))
        self.head = nn.Conv2d(decoded[0], out_channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        features, skips = self.encoder[0](image), []
        for level in self.encoder[1:]:
            skips.append(features)
            features = level(F.max_pool2d(features, 2))
        for level in self.decoder:
            features = level(torch.cat([F.interpolate(features, scale_factor=2), skips.pop()], dim=1))
        maps: Tensor = self.head(features)
        return maps
