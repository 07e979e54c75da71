"""What losses of points are given beside maps: where the points lie, in pixels, and what lies in which cell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nni_count.losses.blocks import Blocks, summed


@dataclass(frozen=True)
class Scene:
    """What is estimated of a batch, and what is true of it: M maps, K of each of B images.

    Args:
        density: estimated points a cell, ``(M, h, w)``; of any sign.
        points: the true ones, ``(N, 3)``: the number of a point's map, then x and y in pixels, inside the image.
        stride: pixels a side of a cell.
        blocks: what the network says of blocks, where the task has a head for it.
    """

    density: Tensor
    points: Tensor
    stride: int
    blocks: Blocks | None = None

    def coarser(self, side: int) -> Scene:
        """The same in cells of at most ``side`` pixels that are made of whole ones; as it is where there are none."""
        factor = max(1, side // self.stride)
        return Scene(summed(self.density, factor), self.points, factor * self.stride) if factor > 1 else self

    @property
    def dots(self) -> Tensor:
        """True points a cell, exactly, ``(M, h, w)``."""
        number, rows, columns = self.density.shape
        x, y = (self.points[:, 1:] / self.stride).long().unbind(1)
        place = (self.points[:, 0].long() * rows + y) * columns + x
        return torch.bincount(place, minlength=number * rows * columns).view(self.density.shape).to(self.density)
