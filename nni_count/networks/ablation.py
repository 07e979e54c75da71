"""The grid of NAS-Count's ablation (table 3): AMSNet's encoder or a baseline, with AMSNet's decoder or a baseline.

The baseline encoder is SANet's four inception-like blocks, the baseline decoder two 3×3 convolutions with
nearest-neighbour interpolation between. What the paper leaves open is settled so that any encoder fits any decoder:

- the baseline encoder halves the size after its first two blocks only, so that both encoders end at a quarter;
- AMSNet's decoder takes the baseline's last three blocks, as it takes three cells of AMSNet's, the second one pooled;
- both decoders have the same two convolutions; AMSNet's has its fusion cell before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from nni_count.architecture import Architecture
from nni_count.errors import SettingError
from nni_count.networks.amsnet import SETTINGS, TRUNK, fused_channels, resized, usual_map_stride
from nni_count.networks.encoder import Encoder
from nni_count.networks.network import Network, check_channels
from nni_count.networks.sanet import WIDTHS, aggregations
from nni_count.networks.up_sampling import UpSampling
from nni_count.networks.wiring import Cell, Parts, chosen_parts

PARTS = ("baseline", "amsnet")


class BaselineEncoder(nn.Module):
    """SANet's blocks: ``(B, in_channels, H, W)`` → those of 128, 128 and 64 channels, at a quarter of the size."""

    channels = WIDTHS[1:]
    stride, trunk = 4, None

    def __init__(self, in_channels: int):
        super().__init__()
        check_channels(in_channels=in_channels)
        self.blocks = nn.ModuleList(aggregations(in_channels))
        self.pool = nn.MaxPool2d(2)

    def features(self, image: Tensor) -> list[Tensor]:
        """The outputs of the last three blocks."""
        found = [image]
        for number, block in enumerate(self.blocks):
            features = block(found[-1])
            found.append(self.pool(features) if number < 2 else features)
        return found[2:]


class Decoder(nn.Module):
    """Two 3×3 convolutions with interpolation: AMSNet's after the fusion cell of three features, which is made of
    ``parts``; without it the baseline's, of the last features alone.
    """

    def __init__(self, parts: Parts | None, channels: Sequence[int], width: int, *map_settings: int):
        super().__init__()
        fused = fused_channels(width, parts.kind.nodes if parts else 1)
        self.fusion = Cell(channels, fused, parts) if parts else None
        self.up_sampling = UpSampling(fused if parts else channels[-1], fused // 2, *map_settings)

    def forward(self, features: list[Tensor]) -> Tensor:
        density: Tensor = self.up_sampling(self.fusion(*features) if self.fusion else features[-1])
        return density


class Ablation(Network):
    """``(B, in_channels, H, W)`` → ``(B, out_channels, H / map_stride, W / map_stride)``.

    Args:
        architecture: the cells of AMSNet's parts; a network of baselines alone needs none, but its pyramid is that of
            the loss ``sppl``.
        encoder: ``baseline`` or ``amsnet``.
        decoder: ``baseline`` or ``amsnet``.
        settings: as for :class:`nni_count.networks.amsnet.AMSNetBody`, by default as the architecture was found;
            ``cells``, ``width``, ``taps``, ``stem_stride`` and the trunk are those of AMSNet's encoder, and ``width``
            also bounds the decoders' channels as in AMSNet.

    Raises:
        SettingError: naming the setting that is unknown or does not fit, or the missing architecture.
    """

    def __init__(
        self,
        architecture: Architecture | None = None,
        *,
        encoder: str = "baseline",
        decoder: str = "baseline",
        **settings: Any,
    ):
        super().__init__()
        for name, value in (("encoder", encoder), ("decoder", decoder)):
            if value not in PARTS:
                raise SettingError(f"network.{name}: {value!r} is unknown; choose {' or '.join(PARTS)}")
            if value == "amsnet" and architecture is None:
                raise SettingError(
                    f"network ablation: AMSNet's {name} needs the cells that a search found; give --architecture FILE"
                )
        for name in settings:
            if name not in SETTINGS:
                known = ", ".join(("encoder", "decoder", *SETTINGS))
                raise SettingError(f"network ablation: unknown setting {name!r}; known: {known}")
        defaults = {"width": 256, "in_channels": 3, "out_channels": 1, "map_stride": None, "stem_stride": 1}
        chosen = {**defaults, **(resized(architecture, settings) if architecture else settings)}
        check_channels(out_channels=chosen["out_channels"])
        extraction, fusion = chosen_parts(architecture) if architecture else (None, None)
        self.encoder: Encoder | BaselineEncoder
        if encoder == "amsnet" and extraction:
            own = ("cells", "width", "taps", "in_channels", "stem_stride", *TRUNK)
            self.encoder = Encoder(extraction, **{name: chosen[name] for name in own if name in chosen})
            chosen.update(self.encoder.encoder_settings)
            channels: Sequence[int] = [chosen["width"]] * 3
        else:
            chosen = {name: value for name, value in chosen.items() if name not in TRUNK} | {"stem_stride": 1}
            self.encoder = BaselineEncoder(chosen["in_channels"])
            channels = BaselineEncoder.channels
        self.map_stride = chosen["map_stride"] = usual_map_stride(self.encoder, chosen["map_stride"])
        self.multiple = 4 * self.encoder.stride  # instance norm needs more than one value
        map_settings = (chosen["out_channels"], self.map_stride, self.encoder.stride)
        self.decoder = Decoder(fusion if decoder == "amsnet" else None, channels, chosen["width"], *map_settings)
        chosen.pop("trunk_weights", None)
        self.settings = {"encoder": encoder, "decoder": decoder, **chosen}

    def forward(self, image: Tensor) -> Tensor:
        density: Tensor = self.decoder(self.encoder.features(image))
        return density

    def last_layer(self) -> nn.Module:
        return self.decoder.up_sampling.second
