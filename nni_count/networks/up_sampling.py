"""AMSNet's up-sampling module (NAS-Count, section 3.1)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from nni_count.errors import SettingError

#: by how much the map is smaller than what arrives → by what each of the two interpolations enlarges, of a stride of 4
FACTORS = {1: (2, 2), 2: (2, 1), 4: (1, 1)}


class UpSampling(nn.Module):
    """Two 3×3 convolutions, each after a ×2 nearest-neighbour interpolation as far as the map's stride asks for it.

    Args:
        channels: that arrive.
        middle: channels between the two convolutions.
        out_channels: maps that are regressed.
        map_stride: pixels a side of a cell of the map: ``stride``, a half or a quarter of it.
        stride: of what arrives.
    """

    def __init__(self, channels: int, middle: int, out_channels: int, map_stride: int, stride: int = 4):
        super().__init__()
        strides = {factor * stride // 4: factors for factor, factors in FACTORS.items()}
        if type(map_stride) is not int or map_stride not in strides:
            *others, last = strides
            arriving = f" where cells end at stride {stride}" if stride > 4 else ""
            raise SettingError(
                f"network.map_stride: {map_stride!r}; choose {', '.join(map(str, others))} or {last}{arriving}"
            )
        self.factors = strides[map_stride]
        self.first = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, middle, 3, padding=1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
        )
        self.second = nn.Conv2d(middle, out_channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        for factor, layer in zip(self.factors, (self.first, self.second), strict=True):
            features = layer(F.interpolate(features, scale_factor=factor) if factor > 1 else features)
        return features
