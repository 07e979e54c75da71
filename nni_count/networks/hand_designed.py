"""What the hand-designed networks share: channels that are checked, and first weights of their own."""

from __future__ import annotations

from typing import Any

from torch import nn

from nni_count.networks.network import Network, check_channels

#: of the first weights of CSRNet and CAN
STD = 0.01


class HandDesigned(Network):
    """A network that is built from its settings alone.

    Args:
        in_channels: channels of the image.
        out_channels: maps that are regressed.
        settings: further ones that build the network again.

    Raises:
        SettingError: a number of channels is not at least 1.
    """

    def __init__(self, in_channels: int, out_channels: int, **settings: Any):
        super().__init__()
        self.settings = {"in_channels": in_channels, "out_channels": out_channels, **settings}
        check_channels(in_channels=in_channels, out_channels=out_channels)


def gaussian(module: nn.Module, std: float = STD) -> None:
    """Weights of all convolutions from N(0, std²), biases zero."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.normal_(part.weight, std=std)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
