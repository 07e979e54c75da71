"""The convolutions of VGG16 (Simonyan and Zisserman, 2015, configuration D), with torchvision's weights on request."""

from __future__ import annotations

from torch import nn

from nni_count.errors import SettingError
from nni_count.networks.hand_designed import he
from nni_count.networks.network import draw_weights

#: widths of the 3×3 convolutions; "M" is a 2×2 max-pool
CONV4_3: tuple[int | str, ...] = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512)
CONV5_3: tuple[int | str, ...] = (*CONV4_3, "M", 512, 512, 512)


def plain_layers(channels: int, plan: tuple[int | str, ...], dilation: int = 1, norm: bool = False) -> nn.Sequential:
    """3×3 convolutions, each with ReLU (``norm``: after a batch norm), and max-pools; sizes kept but for the pools."""
    layers: list[nn.Module] = []
    for width in plan:
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(2))
            continue
        layers.append(nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation))
        if norm:
            layers.append(nn.BatchNorm2d(width))
        layers.append(nn.ReLU(inplace=True))
        channels = width
    return nn.Sequential(*layers)


class VGG(nn.Sequential):
    """VGG16 up to a convolution: ``(B, in_channels, H, W)`` → ``(B, 512, H / 8, W / 8)`` for :data:`CONV4_3`.

    Args:
        in_channels: channels of the image.
        plan: :data:`CONV4_3` or :data:`CONV5_3`.
        pretrained: whether to take torchvision's ImageNet weights, which are downloaded once.

    Raises:
        SettingError: the weights cannot be had, or do not fit the channels of the image.
    """

    def __init__(self, in_channels: int, plan: tuple[int | str, ...], pretrained: bool):
        super().__init__(*plain_layers(in_channels, plan))
        if not isinstance(pretrained, bool):
            raise SettingError(f"network.pretrained: {pretrained!r}; choose true or false")
        self.pretrained = pretrained
        if pretrained:
            self._load(in_channels)

    def _load(self, in_channels: int) -> None:
        if in_channels != 3:
            raise SettingError(
                f"network.pretrained: the ImageNet weights are for 3 channels, in_channels is {in_channels}; "
                "choose --network.pretrained false"
            )
        from torchvision.models import VGG16_Weights  # type: ignore[import-untyped]

        try:
            weights = VGG16_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
        except (OSError, RuntimeError) as error:  # no network, no disk, or a file of the wrong hash
            raise SettingError(
                f"network.pretrained: torchvision's VGG16 weights could not be downloaded ({error}); "
                "go online once, or choose --network.pretrained false"
            ) from error
        # ours are the first layers of torchvision's `features`, in the same order
        self.load_state_dict({name: weights[f"features.{name}"] for name in self.state_dict()})

    def initialise(self) -> None:
        """He initialisation, as VGG needs it without batch norm; ImageNet weights stay."""
        if not self.pretrained:
            draw_weights(he, self)
