"""What the hand-designed networks share: channels that are checked, and first weights of their own."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from nni_count.networks.network import Network, check_channels

#: first weights: He's for convolutions with ReLU and without batch norm, and those of CSRNet and CAN
he = partial(nn.init.kaiming_normal_, nonlinearity="relu")
gaussian = partial(nn.init.normal_, std=0.01)


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
