"""Switch-CNN: a classifier chooses one of MCNN's columns (Sam et al., Switching Convolutional Neural Network for Crowd
Counting, CVPR 2017).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from nni_count.networks.hand_designed import HandDesigned, gaussian, he
from nni_count.networks.mcnn import COLUMNS, column
from nni_count.networks.network import Loss, draw_weights
from nni_count.networks.vgg import CONV5_3, VGG

#: an image is switched in so many rows and columns of patches, fewer where they would be smaller than a training crop
GRID, SMALLEST = 3, 128
#: shares of the training after which the columns are trained differentially, and together with the switch. The paper
#: trains each stage until it no longer improves; these are ours
DIFFERENTIAL, COUPLED = 0.3, 0.5


class SwitchCNN(HandDesigned):
    """Switch-CNN: ``(B, in_channels, H, W)`` → ``(B, out_channels, H / 4, W / 4)``; 15,112,590 parameters for RGB.

    An image is cut into 3×3 patches, each of which goes through the one column that the switch holds likeliest; small
    images into fewer, so that a patch has at least 128 pixels a side.

    It is trained in the paper's three stages (:meth:`training_loss`), a training crop being a patch:

    1. each column on all patches;
    2. differential: of each patch's three columns only the one whose count is nearest to the truth;
    3. coupled: the switch learns which column that is, and each patch trains the column to which the switch sends it.

    What differs from the paper: stages end at fixed shares of the training instead of by their own validation, stage 3
    does both in one step instead of turns of an epoch each (switch and columns share no weights), and the switch's
    labels are made equally frequent by weights within a batch instead of by sampling.

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
        patches = _Patches(self, self.switch)
        return torch.cat([patches(one[None]) for one in image])

    def traceable(self) -> nn.Module:
        return cast(nn.Module, torch.jit.script(_Patches(self, nn.Sequential(self.front_end, self.classifier))))

    def training_loss(self, image: Tensor, target: Tensor, loss: Loss, progress: float) -> Tensor:
        """The stage's loss of patches ``(B, C, H, W)``; arguments as for any network."""
        maps = self.densities(image).float()  # (B, 3, K, h, w)
        if progress < DIFFERENTIAL:
            return torch.stack([loss(maps[:, number], target) for number in range(len(COLUMNS))]).sum()
        read = getattr(loss, "read", lambda output: output)
        found = read(maps.detach().flatten(0, 1)).unflatten(0, maps.shape[:2])
        nearest = (found - target[:, None]).sum((3, 4)).abs().sum(2).argmin(1)  # (B,)
        each = torch.arange(len(maps), device=maps.device)
        if progress < COUPLED:
            return loss(maps[each, nearest], target)
        scores = self.switch(image).float()
        frequency = nn.functional.one_hot(nearest, len(COLUMNS)).sum(0)
        weights = torch.where(frequency > 0, 1 / frequency.clamp_min(1), 0.0)
        learnt = nn.functional.cross_entropy(scores, nearest, weight=weights)
        return loss(maps[each, scores.argmax(1)], target) + learnt

    def switch(self, image: Tensor) -> Tensor:
        """Scores (logits) of the columns, ``(B, 3)``."""
        return cast(Tensor, self.classifier(self.front_end(image)))

    def densities(self, image: Tensor) -> Tensor:
        """The maps of all columns, ``(B, 3, out_channels, H / 4, W / 4)``."""
        return torch.stack([column(image) for column in self.columns], dim=1)

    def initialise(self) -> None:
        """N(0, 0.01²) for the classifier, He's for the columns and, where it has no ImageNet weights, the front end."""
        self.front_end.initialise()
        draw_weights(he, self.columns)
        draw_weights(gaussian, self.classifier, of=nn.Linear)


class _Patches(nn.Module):
    """An image ``(1, C, H, W)`` patch by patch, each through its own column: the others' cost nothing.

    Written as TorchScript takes it: how many patches there are follows the size of the image, and the column of each
    what it shows, which a graph that is traced would keep of one image.
    """

    def __init__(self, network: SwitchCNN, switch: Callable[[Tensor], Tensor]):
        super().__init__()
        self.first, self.second, self.third = network.columns
        self.switch = switch
        self.multiple, self.out_channels = network.multiple, network.settings["out_channels"]
        self.grid, self.smallest = GRID, SMALLEST  # since TorchScript sees no globals

    def forward(self, image: Tensor) -> Tensor:
        found = image.new_zeros(1, self.out_channels, 0, image.shape[3] // 4)
        for row in range(self.pieces(image.shape[2])):
            strip = image[:, :, self.start(row, image.shape[2]) : self.start(row + 1, image.shape[2])]
            beside = image.new_zeros(1, self.out_channels, strip.shape[2] // 4, 0)
            for place in range(self.pieces(image.shape[3])):
                left, right = self.start(place, image.shape[3]), self.start(place + 1, image.shape[3])
                beside = torch.cat([beside, self.switched(strip[:, :, :, left:right])], 3)
            found = torch.cat([found, beside], 2)
        return found

    def pieces(self, length: int) -> int:
        return min(self.grid, max(1, length // self.smallest))

    def start(self, piece: int, length: int) -> int:
        blocks, pieces = length // self.multiple, self.pieces(length)
        return (piece * (blocks // pieces) + min(piece, blocks % pieces)) * self.multiple

    def switched(self, patch: Tensor) -> Tensor:
        chosen = int(self.switch(patch).argmax(1))
        if chosen == 0:
            maps: Tensor = self.first(patch)
        elif chosen == 1:
            maps = self.second(patch)
        else:
            maps = self.third(patch)
        return maps
