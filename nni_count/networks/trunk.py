"""Trunks: the early stages of a torchvision network with ImageNet weights, on which other cells stand."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from nni_count.errors import SettingError
from nni_count.networks.network import planned
from nni_count.runs.plain import check_file

STRIDES = (4, 8, 16)
#: what ``weights`` may be beside a file: torchvision's, which are downloaded once, or first weights of the trunk's own
IMAGENET, NONE = "imagenet", "none"
SIDE = 64  # pixels of the image on which stages are looked for
#: channels for each pixel of the image, of the widest map inside of most trunks
WIDEST = 32


class Trunk(nn.Module):
    """The stages of a network for classification up to a stride: ``(B, 3, H, W)`` → ``(B, channels, H / stride,
    W / stride)``, of H and W that are multiples of ``stride``.

    Args:
        name: of a network of torchvision whose layers are a chain, such as ``mobilenet_v3_small``, ``efficientnet_b0``
            or ``resnet18``; or ``efficientnet_lite0``, which attends to no means over the whole image.
        stride: 4, 8 or 16; all layers before the size is halved further are taken.
        weights: what :meth:`load` gives it: :data:`IMAGENET`, :data:`NONE`, or a file of the network's weights.

    Attributes:
        channels: of what it gives.

    Raises:
        SettingError: there is no such network, or none of its layers ends at the stride.
    """

    def __init__(self, name: str, stride: int = 8, weights: str = IMAGENET):
        super().__init__()
        if type(stride) is not int or stride not in STRIDES:
            raise SettingError(f"network.trunk_stride: {stride!r}; choose {', '.join(map(str, STRIDES[:-1]))} or 16")
        if not isinstance(weights, str) or not weights:
            raise SettingError(f"network.trunk_weights: {weights!r}; give a file, {IMAGENET} or {NONE}")
        self.name, self.weights = name, weights
        self.places, layers, self.channels = early_stages(name, stride)
        place = torch.empty(0).device  # where its layers are planned without memory, they have no weights yet
        self.layers = copy.deepcopy(layers).to_empty(device=place)
        if place.type != "meta":
            for part in self.layers.modules():
                for parameter in part.parameters(recurse=False):
                    nn.init.ones_(parameter)  # of layers that draw none
                getattr(part, "reset_parameters", lambda: None)()

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.layers(image)
        return features

    def load(self) -> None:
        """Take the weights that are asked for.

        Raises:
            SettingError: they cannot be downloaded or read, or are another network's.
        """
        if self.weights == NONE:
            return
        own = self.layers.state_dict()
        taken = _taken(_downloaded(self.name) if self.weights == IMAGENET else _read(self.weights), own, self.places)
        for name, tensor in own.items():
            if name not in taken or taken[name].shape != tensor.shape:
                found = f"of {tuple(taken[name].shape)}" if name in taken else "missing"
                raise SettingError(
                    f"network.trunk_weights: {self.weights}: not those of {self.name}: {name} is {found} in the file, "
                    f"of {tuple(tensor.shape)} in the network; give its own file"
                )
            if not taken[name].isfinite().all():
                raise SettingError(f"network.trunk_weights: {self.weights}: {name} is not finite; give another file")
        self.layers.load_state_dict(taken)


def load_trunks(module: nn.Module) -> None:
    """Give all trunks in a module the weights that are asked for; raises as :meth:`Trunk.load`."""
    for part in module.modules():
        if isinstance(part, Trunk):
            part.load()


def _taken(weights: Mapping[str, Any], own: Mapping[str, Tensor], places: list[str]) -> dict[str, Tensor]:
    """What of a whole network's weights a trunk takes: by torchvision's names; where a file has others, in its order,
    which is that of the layers.
    """
    tensors = {name: tensor for name, tensor in weights.items() if isinstance(tensor, Tensor)}
    named = {name: f"{places[int(number)]}.{rest}" for name in own for number, _, rest in [name.partition(".")]}
    if any(theirs in tensors for theirs in named.values()):
        return {name: tensors[theirs] for name, theirs in named.items() if theirs in tensors}
    return dict(zip(own, tensors.values(), strict=False))


def _downloaded(name: str) -> Mapping[str, Any]:
    remedy = f"give a file with --network.trunk_weights, or {NONE}"
    from torchvision.models import get_model_weights  # type: ignore[import-untyped]

    try:
        weights: Mapping[str, Any] = get_model_weights(name).DEFAULT.get_state_dict(progress=True, check_hash=True)
    except ValueError as error:  # one of :data:`OTHERS`
        raise SettingError(f"network.trunk_weights: torchvision has none of {name}; {remedy}") from error
    except (OSError, RuntimeError) as error:  # no network, no disk, or a file of the wrong hash
        raise SettingError(
            f"network.trunk_weights: those of {name} could not be downloaded ({error}); go online once, or {remedy}"
        ) from error
    return weights


def _read(file: str) -> Mapping[str, Any]:
    try:
        check_file(file)
        found = load_file(file) if Path(file).suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except FileNotFoundError:
        raise SettingError(
            f"network.trunk_weights: {file}: no such file; give the network's weights, {IMAGENET} or {NONE}"
        ) from None
    except Exception as error:  # unpickling raises what it likes
        why = str(error).partition("\n")[0] or type(error).__name__
        raise SettingError(
            f"network.trunk_weights: {file}: no readable weights ({why}); give a state_dict of the network"
        ) from error
    found = found.get("state_dict", found) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


@cache
def early_stages(name: str, stride: int) -> tuple[list[str], nn.Sequential, int]:
    """The layers of a network up to a stride, without memory: what they are called there, they, and the channels that
    they give.
    """
    with planned(name):
        chain, image = list(_chain(_whole(name))), torch.zeros(1, 3, SIDE, SIDE)
        found, strides = (0, 0), {1}
        for number, (_, layer) in enumerate(chain, 1):
            try:
                image = layer.eval()(image)
            except (RuntimeError, TypeError, ValueError, IndexError):  # no chain from here on
                break
            if image.ndim != 4 or image.shape[-1] != image.shape[-2] or SIDE % image.shape[-1]:
                break
            strides.add(reached := SIDE // image.shape[-1])
            if reached == stride:
                found = number, image.shape[1]
            elif reached > stride:
                break
    if not found[0]:
        had = ", ".join(map(str, sorted(strides)))
        raise SettingError(
            f"network.trunk_stride: no layer of {name} ends at {stride} (but at {had}); choose another stride or trunk"
        )
    layers = nn.Sequential(*(layer.train() for _, layer in chain[: found[0]]))
    return [place for place, _ in chain[: found[0]]], layers, found[1]


def _chain(network: nn.Module, place: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Layers in their order, with those of sequences in place of them."""
    for name, layer in network.named_children():
        if type(layer) is nn.Sequential:
            yield from _chain(layer, f"{place}{name}.")
        else:
            yield f"{place}{name}", layer


def _whole(name: str) -> nn.Module:
    import torchvision.models  # type: ignore[import-untyped]

    if isinstance(name, str) and name in OTHERS:
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
