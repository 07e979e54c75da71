"""What a network says of blocks whose counts it has bins for: how probably a block is empty, and how full it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nni_count.errors import SettingError


class Blocks(NamedTuple):
    """M maps of blocks.

    Args:
        empty: the logit of a block being structurally empty, ``(M, h, w)``.
        bins: the logits of the bins, ``(M, n, h, w)``.
        values: the count that each bin stands for, rising, ``(n,)``.
        cells: cells a side of a block.
    """

    empty: Tensor
    bins: Tensor
    values: Tensor
    cells: int

    @property
    def rate(self) -> Tensor:
        """λ, the count of a block that is not structurally empty: the mean of the bins, ``(M, h, w)``."""
        return torch.einsum("mnhw,n->mhw", self.bins.softmax(1), self.values)

    @property
    def expected(self) -> Tensor:
        """(1 − π) λ, what a block is expected to hold, ``(M, h, w)``."""
        return torch.sigmoid(-self.empty) * self.rate


def read_blocks(output: Tensor, values: Tensor, side: int, stride: int) -> Blocks:
    """The blocks of an output ``(B, 1 + n, h, w)``, whose logits are the means of their cells; those at the right and
    lower border may have fewer cells.

    Args:
        output: the logit of emptiness, then those of the bins.
        values: see :class:`Blocks`.
        side: of a block in pixels.
        stride: pixels a side of a cell.

    Raises:
        SettingError: a block is not made of whole cells.
    """
    if side % stride:
        raise SettingError(f"task.block: {side}; the network's map has cells of {stride} pixels, give a multiple")
    logits = F.avg_pool2d(output, side // stride, ceil_mode=True, count_include_pad=False)
    return Blocks(logits[:, 0], logits[:, 1:], values, side // stride)


def spread_blocks(blocks: Blocks, shape: Sequence[int]) -> Tensor:
    """What the cells of a map hold where blocks share their counts evenly: ``(M, *shape)``, which sums to theirs."""
    even = blocks.expected / summed(blocks.expected.new_ones(1, *shape), blocks.cells)
    return even.repeat_interleave(blocks.cells, 1).repeat_interleave(blocks.cells, 2)[:, : shape[0], : shape[1]]


def summed(maps: Tensor, factor: int) -> Tensor:
    """Sums of blocks of cells, ``(M, h, w)`` → ``(M, ceil(h / factor), ceil(w / factor))``."""
    height, width = maps.shape[-2:]
    maps = F.pad(maps, (0, -width % factor, 0, -height % factor))
    return F.avg_pool2d(maps[:, None], factor)[:, 0] * factor**2
