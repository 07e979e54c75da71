"""The early stages of a network for classification: its layers up to a stride, and what of its weights is theirs."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from nni_count.errors import SettingError
from nni_count.networks.network import planned

SIDE = 64  # pixels of the image on which stages are looked for


def _counts(name: str) -> bool:
    """Whether a tensor counts the batches of a norm, which older files have not."""
    return name.endswith("num_batches_tracked")


@dataclass(frozen=True)
class Early:
    """The early stages of a network, without memory.

    Attributes:
        name: of the network.
        places: what the layers are called there.
        layers: they.
        channels: that they give.
        whole: what all tensors of the network are called → their shapes, in order.
    """

    name: str
    places: Sequence[str]
    layers: nn.Sequential
    channels: int
    whole: Mapping[str, tuple[int, ...]]

    def of(self, weights: Mapping[str, Any]) -> dict[str, Tensor]:
        """What of the whole network's weights is theirs: by torchvision's names; where a file has others, in its
        order. A ValueError where they are another network's.
        """
        own = {name: self._there(name) for name in self.layers.state_dict() if not _counts(name)}
        tensors = {_DENSE.sub(r"\1\2", name): values for name, values in weights.items() if isinstance(values, Tensor)}
        first = next(iter(own.values()))
        ways = (name[: -len(first)] for name in tensors if f".{name}".endswith(f".{first}"))
        before = min(ways, key=len, default=None)  # inner layers may be called as the first one is
        if before is None:
            return dict(zip(own, self._in_order(weights, tensors), strict=False))
        named = {name.removeprefix(before): values for name, values in tensors.items() if name.startswith(before)}
        tops = {place.partition(".")[0] for place in self.places}
        for name in named:
            if name not in self.whole and name.partition(".")[0] in tops:
                raise ValueError(f"it has {name}, which {self.name} has not")
        for theirs in own.values():
            if theirs not in named:
                raise ValueError(f"{theirs} is missing")
        return {name: named[theirs] for name, theirs in own.items()}

    def _there(self, name: str) -> str:
        number, _, rest = name.partition(".")
        return f"{self.places[int(number)]}.{rest}"

    def _in_order(self, weights: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> list[Tensor]:
        """The tensors, which are the whole network's one by one; of its classifier, the last two, any number."""
        found = [(name, values) for name, values in tensors.items() if not _counts(name)]
        expected = [(name, shape) for name, shape in self.whole.items() if not _counts(name)]
        if isinstance(weights, Unordered) or len(found) < len(expected) - 2:
            several = f"{len(found)} tensors, the first is {found[0][0]}" if found else "no tensors"
            raise ValueError(f"it has none of torchvision's names ({several})")
        for (theirs, values), (name, shape) in zip(found, expected[:-2], strict=False):
            kinds = [one.rpartition(".")[2] for one in (theirs, name)]
            if kinds[0] != kinds[1] or tuple(values.shape) != shape:
                raise ValueError(f"{theirs} is of {tuple(values.shape)}, in the place of {name} of {shape}")
        return [values for _, values in found]


class Unordered(dict[str, Any]):
    """Weights of a file that keeps no order."""


#: of densely connected layers, whose tensors' names torchvision has changed since it trained them
_DENSE = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


@cache
def early_stages(name: str, stride: int) -> Early:
    """The layers of a network up to a stride.

    Raises:
        SettingError: as :class:`Trunk`.
    """
    with planned():
        whole, image = _whole(name), torch.zeros(1, 3, SIDE, SIDE)
        chain = list(_chain(whole))
        shapes = {place: tuple(values.shape) for place, values in whole.state_dict().items()}
        number, channels, strides = 0, 0, {1}
        for place, (_, layer) in enumerate(chain, 1):
            try:
                image = layer.eval()(image)
            except (RuntimeError, TypeError, ValueError, IndexError, AssertionError):  # no chain from here on
                break
            if image.ndim != 4 or image.shape[-1] != image.shape[-2] or SIDE % image.shape[-1]:
                break
            strides.add(reached := SIDE // image.shape[-1])
            if reached == stride:
                number, channels = place, image.shape[1]
            elif reached > stride:
                break
    if not number:
        had = ", ".join(map(str, sorted(strides)))
        raise SettingError(
            f"network.trunk_stride: no layer of {name} ends at {stride} (but at {had}); choose another stride or trunk"
        )
    places, layers = zip(*chain[:number], strict=True)
    return Early(name, places, nn.Sequential(*layers).train(), channels, shapes)


def _chain(network: nn.Module, place: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Layers in their order, with those of sequences in place of them."""
    for name, layer in network.named_children():
        if type(layer) is nn.Sequential:
            yield from _chain(layer, f"{place}{name}.")
        else:
            yield f"{place}{name}", layer


def _whole(name: str) -> nn.Module:
    import torchvision.models  # type: ignore[import-untyped]

    if name in OTHERS:
        return OTHERS[name]()
    if name not in torchvision.models.list_models(torchvision.models):
        raise SettingError(
            f"network.trunk: {name!r} is unknown; choose a network of torchvision, such as mobilenet_v3_small, "
            f"efficientnet_b0 or resnet18, or {', '.join(OTHERS)}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of first weights, which some announce
        try:
            network: nn.Module = torchvision.models.get_model(name, weights=None)
        except NotImplementedError as error:  # it looks at values while it is made
            raise SettingError(f"network.trunk: {name} cannot be planned without memory; choose another") from error
    return network


def efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation and with ReLU6, for small machines (Liu,
    Higher accuracy on vision models with EfficientNet-Lite, 2020). Its layers are in torchvision's order.
    """
    from torchvision.models.efficientnet import (  # type: ignore[import-untyped]
        EfficientNet,
        MBConv,
        MBConvConfig,
    )

    block = partial(MBConv, se_layer=lambda *_, **__: nn.Identity())
    # expansion, kernel, stride, channels in and out, layers: of EfficientNet-B0
    stages = (
        *((1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 40, 2), (6, 3, 2, 40, 80, 3)),
        *((6, 5, 1, 80, 112, 3), (6, 5, 2, 112, 192, 4), (6, 3, 1, 192, 320, 1)),
    )
    network: nn.Module = EfficientNet(
        [MBConvConfig(*stage, block=block) for stage in stages],
        dropout=0.2,
        stochastic_depth_prob=0.0,
        norm_layer=partial(nn.BatchNorm2d, eps=1e-3),
    )
    for part in list(network.modules()):
        for name, layer in part.named_children():
            if isinstance(layer, nn.SiLU):
                setattr(part, name, nn.ReLU6(inplace=True))
    return network


#: trunks that torchvision has not, by name
OTHERS = {"efficientnet_lite0": efficientnet_lite0}
