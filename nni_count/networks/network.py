"""What every network has beside its layers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Network(nn.Module):
    """Maps an image ``(B, 3, H, W)`` to ``(B, K, H / map_stride, W / map_stride)``.

    Attributes:
        multiple: what H and W must be divisible by.
        map_stride: pixels a side of a cell of the map.
        settings: what builds the network again, plain JSON.
    """

    multiple: int
    map_stride: int
    settings: dict[str, Any]

    def forward(self, image: Tensor) -> Tensor:
        raise NotImplementedError

    def maps(self, image: Tensor) -> list[Tensor]:
        """All maps that training compares with the truth, each of the shape of :meth:`forward`'s, which is the last."""
        return [self(image)]
