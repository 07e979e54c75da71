"""CSRNet: VGG16's first ten convolutions and a dilated back end (Li et al., CSRNet: Dilated Convolutional Neural
Networks for Understanding the Highly Congested Scenes, CVPR 2018, table 3, configuration B).
"""

from __future__ import annotations

from torch import Tensor, nn

from nni_count.networks.hand_designed import HandDesigned, gaussian
from nni_count.networks.network import draw_weights
from nni_count.networks.vgg import CONV4_3, VGG, plain_layers

BACK_END: tuple[int | str, ...] = (512, 512, 512, 256, 128, 64)


class CSRNet(HandDesigned):
    """CSRNet (B): ``(B, in_channels, H, W)`` → ``(B, out_channels, H / 8, W / 8)``; 16,263,489 parameters for RGB.

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
        self.back_end = plain_layers(512, BACK_END, dilation=2)
        self.head = nn.Conv2d(64, out_channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        density: Tensor = self.head(self.back_end(self.front_end(image)))
        return density

    def initialise(self) -> None:
        """N(0, 0.01²) for what has no ImageNet weights; without them the front end gets He's."""
        self.front_end.initialise()
        draw_weights(gaussian, self.back_end, self.head)
