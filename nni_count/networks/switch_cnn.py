"""Switch-CNN: a classifier chooses one of MCNN's columns (Sam et al., Switching Convolutional Neural Network for Crowd
Counting, CVPR 2017).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from nni_count.networks.hand_designed import HandDesigned
from nni_count.networks.mcnn import COLUMNS, column
from nni_count.networks.vgg import CONV5_3, VGG


class SwitchCNN(HandDesigned):
    """Switch-CNN: ``(B, in_channels, H, W)`` → ``(B, out_channels, H / 4, W / 4)``; 15,112,590 parameters for RGB.

    In evaluation mode each image goes through the one column that the switch holds likeliest. In training mode the
    columns' maps are mixed by the switch's probabilities, so that any training of one loss reaches columns and switch
    alike; the paper trains them in turns, for which :meth:`densities` and :meth:`switch` stand alone. It also
    switches for each ninth of an image, here for what it is given.

    Args:
        in_channels: channels of the image.
        out_channels: maps that are regressed.
        pretrained: whether the switch starts from ImageNet weights, as published; a download.
    """

    multiple = 16
    map_stride = 4

    def __init__(self, in_channels: int = 3, out_channels: int = 1, pretrained: bool = False):
        super().__init__(in_channels, out_channels)  # `pretrained` is no part of what builds a trained one again
        self.columns = nn.ModuleList(
            nn.Sequential(column(in_channels, plan), nn.Conv2d(plan[-1][1], out_channels, 1)) for plan in COLUMNS
        )
        self.front_end = VGG(in_channels, CONV5_3, pretrained)
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(512, 512),
            nn.ReLU(inplace=True),
            nn.Linear(512, len(COLUMNS)),
        )

    def forward(self, image: Tensor) -> Tensor:
        scores = self.switch(image)
        if self.training:
            return torch.einsum("bn,bnchw->bchw", scores.softmax(1), self.densities(image))
        # one image at a time through its own column: the others' cost nothing
        chosen = [int(index) for index in scores.argmax(1)]
        return torch.cat([self.columns[index](image[n : n + 1]) for n, index in enumerate(chosen)])

    def switch(self, image: Tensor) -> Tensor:
        """Scores (logits) of the columns, ``(B, 3)``."""
        return cast(Tensor, self.classifier(self.front_end(image)))

    def densities(self, image: Tensor) -> Tensor:
        """The maps of all columns, ``(B, 3, out_channels, H / 4, W / 4)``."""
        return torch.stack([column(image) for column in self.columns], dim=1)

    def initialise(self) -> None:
        """N(0, 0.01²) for the classifier, He's for the columns and, where it has no ImageNet weights, the front end."""
        self.front_end.initialise()
        for part in (*self.columns, self.classifier):
            for module in part.modules():
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=0.01)
                elif isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if isinstance(module, (nn.Linear, nn.Conv2d)) and module.bias is not None:
                    nn.init.zeros_(module.bias)
