"""AMSNet's encoder: a stem or a trunk, and extraction cells (NAS-Count, section 3.1, figure 2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Annotated, Any

import torch.nn.functional as F
from torch import Tensor, nn

from nni_count.errors import SettingError
from nni_count.networks.stages import Staged
from nni_count.networks.trunk import WIDEST, Trunk
from nni_count.networks.up_sampling import FACTORS
from nni_count.networks.wiring import Cell, Parts, pointwise
from nni_count.runs.ranges import Range, check

#: the cells (counted from 1) after which channels double and size halves
DOUBLING = (1, 3)


def default_taps(cells: int) -> list[int]:
    """The three cells, counted from 1, that feed the decoder: in the quarter-size stage, evenly spaced, the last among
    them (M=6 → 4, 5, 6; M=8 → 4, 6, 8). The paper leaves this open.
    """
    return [4, (4 + cells) // 2, cells]


class Encoder(Staged):
    """Stem and extraction cells, whatever they are made of: ``(B, in_channels, H, W)`` → the outputs of the tapped
    cells, each ``(B, width, H / stride, W / stride)``. H and W are multiples of the stride: 4 × ``stem_stride``, or
    ``trunk_stride`` where there is a trunk.

    Args:
        parts: what makes the edges and joins of the cells.
        cells: number of extraction cells, M in the paper; at least 6.
        width: channels of the last extraction cell, C in the paper; a multiple of 4 × the number of its nodes.
        taps: three cells, counted from 1, that are given out; None for the last and two evenly spaced before it
            (:func:`default_taps`).
        in_channels: channels of the image.
        stem_stride: pixels a side of what the stem makes one: 1 as in the paper, whose cells begin at full size. With
            2 or 4 the pixels of a block become channels, and every cell costs a quarter or a sixteenth.
        trunk: the network whose early stages take the place of the pixels, by name; all cells keep its size. See
            :class:`nni_count.networks.trunk.Trunk`.
        trunk_stride: pixels a side of a cell of the trunk's maps: 4, 8 or 16.
        trunk_weights: of the trunk before it is trained: ``imagenet``, torchvision's, which are downloaded once;
            ``none``; or a file of the weights of the network.

    Attributes:
        stride: pixels a side of a cell of the maps that are given out.

    Raises:
        SettingError: naming the setting that does not fit.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        cells: Annotated[int, Range(6, 64)] = 6,
        width: Annotated[int, Range(4, 8192, step=4)] = 32,
        taps: Sequence[int] | None = None,
        in_channels: Annotated[int, Range(1, 4096)] = 3,
        stem_stride: int = 1,
        trunk: str | None = None,
        trunk_stride: int = 8,
        trunk_weights: str = "imagenet",
    ):
        super().__init__()
        check(Encoder.__init__, {"cells": cells, "width": width, "in_channels": in_channels}, "network.")
        taps = default_taps(cells) if taps is None else taps
        _check(cells, width, taps, parts.kind.nodes)
        taps = list(taps)
        if type(stem_stride) is not int or stem_stride not in FACTORS:
            raise SettingError(f"network.stem_stride: {stem_stride!r}; choose 1, 2 or 4")
        self.encoder_settings: dict[str, Any] = {
            "cells": cells,
            "width": width,
            "taps": taps,
            "in_channels": in_channels,
            "stem_stride": stem_stride,
        }
        self.taps = taps
        self.trunk = None if trunk is None else Trunk(trunk, trunk_stride, trunk_weights)
        if self.trunk is None:
            _check_usual("give a trunk too", trunk_stride=(trunk_stride, 8), trunk_weights=(trunk_weights, "imagenet"))
        else:
            _check_usual(
                "give no trunk, which takes the image itself",
                in_channels=(in_channels, 3),
                stem_stride=(stem_stride, 1),
            )
            own = {"trunk": trunk, "trunk_stride": trunk_stride, "trunk_weights": str(trunk_weights)}
            self.encoder_settings.update(own)
        self.stem_stride = stem_stride
        self.stride = 4 * stem_stride if self.trunk is None else trunk_stride
        channels = width // 4
        seen = in_channels * stem_stride**2 if self.trunk is None else self.trunk.channels
        self.stem = pointwise(seen, channels, parts.affine, relu=False)
        self.cells = nn.ModuleList()
        self.doublings = nn.ModuleDict()
        arriving = (channels, channels)  # channels of the outputs of cells l−2 and l−1
        for number in range(1, cells + 1):
            self.cells.append(Cell(arriving, channels, parts))
            if number in DOUBLING:
                self.doublings[str(number)] = pointwise(channels, 2 * channels, parts.affine)
                channels *= 2
            arriving = (arriving[1], channels)

    def features(self, image: Tensor) -> list[Tensor]:
        """The outputs of the tapped cells, the last cell's last."""
        maps, tapped = [image], []
        # a trunk has halved the size as often as it is to be; how wide its maps are is not looked at
        first, halving, widest = (self.stem_stride, 2, 0) if self.trunk is None else (self.stride, 1, WIDEST)
        ends = (*DOUBLING, *range(DOUBLING[-1] + 1, len(self.cells) + 1))  # of stages: where the size halves, or a cell
        for before, end in pairwise((0, *ends)):
            numbers = range(before + 1, end + 1)
            stride = (halving if end in DOUBLING else 1) * (first if 1 in numbers else 1)
            width = max(self.encoder_settings["width"] // 4, maps[-1].shape[1], widest if 1 in numbers else 0)
            maps = [maps[-1], *self.staged(end, partial(self._stage, numbers), maps, width, stride, stride)][-2:]
            if end in self.taps:
                tapped.append(maps[-1])
        return tapped

    def _stage(self, numbers: range, *maps: Tensor) -> list[Tensor]:
        """What cells make of what the two before them gave, the first one of the image: the last one's output, and
        where it halves the size, that of the one before it too.
        """
        if 1 in numbers:
            seen = F.pixel_unshuffle(maps[0], self.stem_stride) if self.trunk is None else self.trunk(maps[0])
            maps = (self.stem(seen),) * 2
        before, last = maps
        for number in numbers:
            before, last = last, self.cells[number - 1](before, last)
        if number not in DOUBLING:
            return [last]
        last = self.doublings[str(number)](last)
        return [F.max_pool2d(before, 2), F.max_pool2d(last, 2)] if self.trunk is None else [before, last]


def _check_usual(why: str, **given: tuple[Any, Any]) -> None:
    """Refuse what is not as usual; each by its name, with what is."""
    for name, (value, usual) in given.items():
        if value != usual:
            raise SettingError(f"network.{name}: {value!r}; {why}, or choose {usual}")


def _check(cells: int, width: int, taps: Any, nodes: int) -> None:
    if cells is None or width is None or width % (4 * nodes):
        raise SettingError(
            f"network.width: {width!r}; choose a multiple of {4 * nodes} (the first cell has a quarter, "
            f"its {nodes} nodes equal shares of that)"
        )
    if (
        not isinstance(taps, (list, tuple))
        or not Range(4, cells).holds(taps, whole=True)
        or len(taps) != 3
        or not (taps[0] < taps[1] < taps[2])
    ):
        raise SettingError(f"network.taps: {taps!r}; choose three rising cells from 4 to {cells}")
