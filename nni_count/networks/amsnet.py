"""AMSNet: extraction cells, a fusion cell and an up-sampling module (NAS-Count, section 3.1, figure 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Annotated, Any

import torch.nn.functional as F
from torch import Tensor, nn

from nni_count.architecture import Architecture
from nni_count.errors import SettingError
from nni_count.networks.network import Network, check_channels
from nni_count.networks.stages import Staged
from nni_count.networks.wiring import Cell, Parts, chosen_parts, pointwise
from nni_count.runs.ranges import Range, check

#: the cells (counted from 1) after which channels double and size halves
DOUBLING = (1, 3)
FUSED_CHANNELS = 128
#: by how much the map is smaller than the stem's output → by what each of the two interpolations enlarges
FACTORS = {1: (2, 2), 2: (2, 1), 4: (1, 1)}


def default_taps(cells: int) -> list[int]:
    """The three cells, counted from 1, that feed the decoder: in the quarter-size stage, evenly spaced, the last among
    them (M=6 → 4, 5, 6; M=8 → 4, 6, 8). The paper leaves this open.
    """
    return [4, (4 + cells) // 2, cells]


class Encoder(Staged):
    """Stem and extraction cells, whatever they are made of: ``(B, in_channels, H, W)`` → the outputs of the tapped
    cells, each ``(B, width, H / 4, W / 4)`` with ``stem_stride`` 1. H and W are multiples of 4 × ``stem_stride``.

    Args:
        parts: what makes the edges and joins of the cells.
        cells: number of extraction cells, M in the paper; at least 6.
        width: channels of the last extraction cell, C in the paper; a multiple of 4 × the number of its nodes.
        taps: three cells, counted from 1, that are given out; None for the last and two evenly spaced before it
            (:func:`default_taps`).
        in_channels: channels of the image.
        stem_stride: pixels a side of what the stem makes one: 1 as in the paper, whose cells begin at full size. With
            2 or 4 the pixels of a block become channels, and every cell costs a quarter or a sixteenth.

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
        self.stem_stride = stem_stride
        channels = width // 4
        self.stem = pointwise(in_channels * stem_stride**2, channels, parts.affine, relu=False)
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
        ends = (*DOUBLING, *range(DOUBLING[-1] + 1, len(self.cells) + 1))  # of stages: where the size halves, or a cell
        for before, end in pairwise((0, *ends)):
            numbers = range(before + 1, end + 1)
            stride = (2 if end in DOUBLING else 1) * (self.stem_stride if 1 in numbers else 1)
            width = max(self.encoder_settings["width"] // 4, maps[-1].shape[1])
            maps = [maps[-1], *self.staged(end, partial(self._stage, numbers), maps, width, stride, stride)][-2:]
            if end in self.taps:
                tapped.append(maps[-1])
        return tapped

    def _stage(self, numbers: range, *maps: Tensor) -> list[Tensor]:
        """What cells make of what the two before them gave, the first one of the image: the last one's output, and
        where it halves the size, that of the one before it too.
        """
        if 1 in numbers:
            maps = (self.stem(F.pixel_unshuffle(maps[0], self.stem_stride)),) * 2
        before, last = maps
        for number in numbers:
            before, last = last, self.cells[number - 1](before, last)
        if number not in DOUBLING:
            return [last]
        return [F.max_pool2d(before, 2), F.max_pool2d(self.doublings[str(number)](last), 2)]


class AMSNetBody(Encoder, Network):
    """The network around the cells, whatever they are made of: ``(B, in_channels, H, W)`` →
    ``(B, out_channels, H / map_stride, W / map_stride)``. H and W are multiples of :attr:`multiple`.

    Args:
        extraction, fusion: what makes the edges and joins of the extraction cells and of the fusion cell.
        out_channels: maps that are regressed.
        map_stride: pixels a side of a cell of the map: 1, 2 or 4 times ``stem_stride``; 1 as in the paper, larger ones
            are cheaper.
        encoder: the settings of :class:`Encoder`.

    Raises:
        SettingError: naming the setting that does not fit.
    """

    def __init__(self, extraction: Parts, fusion: Parts, *, out_channels: int = 1, map_stride: int = 1, **encoder: Any):
        super().__init__(extraction, **encoder)
        check_channels(out_channels=out_channels)
        self.settings = {**self.encoder_settings, "out_channels": out_channels, "map_stride": map_stride}
        self.map_stride = map_stride
        self.multiple = 4 * self.stem_stride
        width = self.encoder_settings["width"]
        fused = fused_channels(width, fusion.kind.nodes)
        self.fusion = Cell([width] * 3, fused, fusion)
        self.up_sampling = UpSampling(fused, fused // 2, out_channels, map_stride, self.stem_stride)

    def forward(self, image: Tensor) -> Tensor:
        maps = self.features(image)
        stride = Fraction(self.map_stride, 4 * self.stem_stride)
        width = max(maps[0].shape[1], int(self.up_sampling.second.in_channels / stride**2))
        return self.staged("decoder", self._decode, maps, width, stride, 1)[0]

    def _decode(self, *maps: Tensor) -> list[Tensor]:
        return [self.up_sampling(self.fusion(*maps))]


def fused_channels(width: int, nodes: int) -> int:
    """Channels of the fusion cell's output: 128, but half the encoder's where that is less. Where its nodes cannot
    share them evenly, each has a multiple of 4, which partial channels divide.
    """
    fused = min(FUSED_CHANNELS, width // 2)
    return nodes * max(1, fused // nodes // 4 * 4) if fused % nodes else fused


class UpSampling(nn.Module):
    """Two 3×3 convolutions, each after a ×2 nearest-neighbour interpolation as far as the map's stride asks for it.

    Args:
        channels: that arrive, at a quarter of the size of the stem's output.
        middle: channels between the two convolutions.
        out_channels: maps that are regressed.
        map_stride: pixels a side of a cell of the map: 1, 2 or 4 times ``stem_stride``.
        stem_stride: of the encoder.
    """

    def __init__(self, channels: int, middle: int, out_channels: int, map_stride: int, stem_stride: int = 1):
        super().__init__()
        strides = {factor * stem_stride: factors for factor, factors in FACTORS.items()}
        if type(map_stride) is not int or map_stride not in strides:
            *others, last = strides
            with_stem = f" with stem_stride {stem_stride}" if stem_stride > 1 else ""
            raise SettingError(
                f"network.map_stride: {map_stride!r}; choose {', '.join(map(str, others))} or {last}{with_stem}"
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


class AMSNet(AMSNetBody):
    """AMSNet with the cells of an architecture; the settings default to those at which it was found.

    Args:
        architecture: the cells that a search found.
        affine: whether batch norms scale and shift; true for retraining.
        settings: as for :class:`AMSNetBody`, by default as the architecture was found; see :func:`resized`.
    """

    def __init__(self, architecture: Architecture, *, affine: bool = True, **settings: Any):
        try:
            super().__init__(*chosen_parts(architecture, affine), **resized(architecture, settings))
        except TypeError as error:
            raise SettingError(f"network: {str(error).split(') ')[-1]}; known: {', '.join(SETTINGS)}") from None
        self.architecture = architecture


SETTINGS = ("cells", "width", "taps", "in_channels", "out_channels", "map_stride", "stem_stride")


def resized(architecture: Architecture, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings at which an architecture was found, with others in their place; taps move along with ``cells``."""
    found = dict(architecture.network)
    if settings.get("cells", found.get("cells")) != found.get("cells") or settings.get("taps", 0) is None:
        found.pop("taps", None)
    return {**found, **settings}


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
