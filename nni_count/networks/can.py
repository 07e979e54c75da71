"""CAN: features weighed against their surroundings at four scales (Liu et al., Context-Aware Crowd Counting,
CVPR 2019).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nni_count.networks.csrnet import BACK_END
from nni_count.networks.hand_designed import HandDesigned, gaussian
from nni_count.networks.network import draw_weights
from nni_count.networks.vgg import CONV4_3, VGG, plain_layers

#: cells a side into which the features are averaged
SCALES = (1, 2, 3, 6)


class Context(nn.Module):
    """The mean of the contexts of four scales, weighted cell by cell by how they contrast with the features.

    Features and contexts are ``(B, C, h, w)``.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.scales = nn.ModuleList(nn.Conv2d(channels, channels, 1, bias=False) for _ in SCALES)
        self.weight = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        total, weights = torch.zeros_like(features), torch.zeros_like(features)
        for cells, scale in zip(SCALES, self.scales, strict=True):
            context = scale(averaged(features, cells))
            context = F.interpolate(context, size=features.shape[-2:], mode="bilinear", align_corners=False)
            weight = torch.sigmoid(self.weight(features - context))
            total, weights = total + weight * context, weights + weight
        return total / weights.clamp_min(1e-6)  # all four may underflow


def averaged(features: Tensor, cells: int) -> Tensor:
    """``F.adaptive_avg_pool2d`` as a product of matrices, which can be exported for images of any size:
    ``(B, C, h, w)`` → ``(B, C, cells, cells)``.
    """
    down, across = (_averaging(side, cells, features) for side in features.shape[-2:])
    return down @ features @ across.T


def _averaging(length: int, cells: int, like: Tensor) -> Tensor:
    """The weights of the values of a row in each cell, ``(cells, length)``; neighbouring cells may share a value."""
    number, place = torch.arange(cells, device=like.device)[:, None], torch.arange(length, device=like.device)
    inside = (place >= number * length // cells) & (place < ((number + 1) * length + cells - 1) // cells)
    weights = inside.to(like.dtype)
    return weights / weights.sum(1, keepdim=True)


class CAN(HandDesigned):
    """CAN: ``(B, in_channels, H, W)`` → ``(B, out_channels, H / 8, W / 8)``; 18,103,489 parameters for RGB.

    Args:
        in_channels: channels of the image.
        out_channels: maps that are regressed.
        pretrained: whether the front end starts from ImageNet weights, as published; a download.
    """

    multiple = 8
    map_stride = 8

    def __init__(self, in_channels: int = 3, out_channels: int = 1, pretrained: bool = False):
        super().__init__(in_channels, out_channels)  # `pretrained` is no part of what builds a trained one again
        self.front_end = VGG(in_channels, CONV4_3, pretrained)
        self.context = Context(512)
        self.bottleneck = nn.Sequential(nn.Conv2d(1024, 512, 1), nn.ReLU(inplace=True))
        self.back_end = plain_layers(512, BACK_END, dilation=2, norm=True)
        self.head = nn.Conv2d(64, out_channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = self.front_end(image)
        features = self.bottleneck(torch.cat([features, self.context(features)], dim=1))
        density: Tensor = self.head(self.back_end(features))
        return density

    def initialise(self) -> None:
        """N(0, 0.01²) for what has no ImageNet weights; without them the front end gets He's."""
        self.front_end.initialise()
        draw_weights(gaussian, self.context, self.bottleneck, self.back_end, self.head)
