"""AMSNet: extraction cells, a fusion cell and an up-sampling module (NAS-Count, section 3.1, figure 2)."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from torch import Tensor, nn

from nni_count.architecture import Architecture
from nni_count.errors import SettingError
from nni_count.networks.encoder import Encoder
from nni_count.networks.network import Network, check_channels
from nni_count.networks.up_sampling import UpSampling
from nni_count.networks.wiring import Cell, Parts, chosen_parts

FUSED_CHANNELS = 128


class AMSNetBody(Encoder, Network):
    """The network around the cells, whatever they are made of: ``(B, in_channels, H, W)`` →
    ``(B, out_channels, H / map_stride, W / map_stride)``. H and W are multiples of :attr:`multiple`.

    Args:
        extraction, fusion: what makes the edges and joins of the extraction cells and of the fusion cell.
        out_channels: maps that are regressed.
        map_stride: pixels a side of a cell of the map: 1, 2 or 4 times ``stem_stride``; 1 as in the paper, larger ones
            are cheaper. With a trunk its stride, a half or a quarter of it. None for 1, or the trunk's stride.
        encoder: the settings of :class:`Encoder`.

    Raises:
        SettingError: naming the setting that does not fit.
    """

    def __init__(
        self,
        extraction: Parts,
        fusion: Parts,
        *,
        out_channels: int = 1,
        map_stride: int | None = None,
        **encoder: Any,
    ):
        super().__init__(extraction, **encoder)
        check_channels(out_channels=out_channels)
        map_stride = usual_map_stride(self, map_stride)
        self.settings = {**self.encoder_settings, "out_channels": out_channels, "map_stride": map_stride}
        self.map_stride = map_stride
        self.multiple = self.stride
        width = self.encoder_settings["width"]
        fused = fused_channels(width, fusion.kind.nodes)
        self.fusion = Cell([width] * 3, fused, fusion)
        self.up_sampling = UpSampling(fused, fused // 2, out_channels, map_stride, self.stride)

    def forward(self, image: Tensor) -> Tensor:
        maps = self.features(image)
        stride = Fraction(self.map_stride, self.stride)
        width = max(maps[0].shape[1], int(self.up_sampling.second.in_channels / stride**2))
        return self.staged("decoder", self._decode, maps, width, stride, 1)[0]

    def last_layer(self) -> nn.Module:
        return self.up_sampling.second

    def _decode(self, *maps: Tensor) -> list[Tensor]:
        return [self.up_sampling(self.fusion(*maps))]


def usual_map_stride(encoder: Any, asked: int | None) -> int:
    """Where none is asked for, 1 as in the paper, or the trunk's."""
    usual: int = 1 if encoder.trunk is None else encoder.stride
    return usual if asked is None else asked


def fused_channels(width: int, nodes: int) -> int:
    """Channels of the fusion cell's output: 128, but half the encoder's where that is less. Where its nodes cannot
    share them evenly, each has a multiple of 4, which partial channels divide.
    """
    fused = min(FUSED_CHANNELS, width // 2)
    return nodes * max(1, fused // nodes // 4 * 4) if fused % nodes else fused


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
        self.settings.pop("trunk_weights", None)  # no part of what builds a trained one again
        self.architecture = architecture


TRUNK = ("trunk", "trunk_stride", "trunk_weights")
SETTINGS = ("cells", "width", "taps", "in_channels", "out_channels", "map_stride", "stem_stride", *TRUNK)


def resized(architecture: Architecture, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings at which an architecture was found, with others in their place; taps move along with ``cells``, and
    strides with the trunk.
    """
    found = dict(architecture.network)
    if settings.get("trunk", found.get("trunk")) != found.get("trunk"):
        found = {name: value for name, value in found.items() if name not in ("map_stride", "stem_stride", *TRUNK)}
    elif settings.get("trunk_stride", found.get("trunk_stride")) != found.get("trunk_stride"):
        found.pop("map_stride", None)
    if settings.get("cells", found.get("cells")) != found.get("cells") or settings.get("taps", 0) is None:
        found.pop("taps", None)
    return {**found, **settings}
