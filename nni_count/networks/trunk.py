"""Trunks: the early stages of a torchvision network with ImageNet weights, on which other cells stand."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from nni_count.errors import SettingError
from nni_count.networks.early import OTHERS, Unordered, early_stages
from nni_count.runs.plain import check_file

STRIDES = (4, 8, 16)
#: what ``weights`` may be beside a file: torchvision's, which are downloaded once, or first weights of the trunk's own
IMAGENET, NONE = "imagenet", "none"
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

    def __init__(self, name: str, stride: int = 8, weights: str | Path = IMAGENET):
        super().__init__()
        if type(stride) is not int or stride not in STRIDES:
            raise SettingError(f"network.trunk_stride: {stride!r}; choose 4, 8 or 16")
        if not isinstance(weights, (str, Path)) or not str(weights):
            raise SettingError(f"network.trunk_weights: {weights!r}; give a file, {IMAGENET} or {NONE}")
        self.weights = str(weights)
        self.early = early_stages(str(name), stride)
        self.channels = self.early.channels
        place = torch.empty(0).device  # where its layers are planned without memory, they have no weights yet
        self.layers = copy.deepcopy(self.early.layers)
        for part in self.layers.modules():  # of how many there are, who counts them hears before they take memory
            for parameter, values in list(part.named_parameters(recurse=False)):
                part.register_parameter(parameter, values)
        self.layers.to_empty(device=place)
        if place.type != "meta":
            for part in self.layers.modules():
                for values in part.parameters(recurse=False):
                    nn.init.ones_(values)  # of layers that draw none
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
        name, said = self.early.name, f"network.trunk_weights: {self.weights}"
        found = _downloaded(name) if self.weights == IMAGENET else _read(self.weights)
        try:
            own = self.layers.state_dict()
            taken = {place: _alike(place, own[place], values) for place, values in self.early.of(found).items()}
        except ValueError as error:
            raise SettingError(f"{said}: not those of {name}: {error}; give its own file") from error
        self.layers.load_state_dict({**own, **taken})


def load_trunks(module: nn.Module) -> None:
    """Give all trunks in a module the weights that are asked for; raises as :meth:`Trunk.load`."""
    for part in module.modules():
        if isinstance(part, Trunk):
            part.load()


def _alike(place: str, own: Tensor, values: Tensor) -> Tensor:
    """Values for a tensor of a trunk; a ValueError where they cannot be those."""
    if values.shape != own.shape:
        raise ValueError(f"{place} is of {tuple(values.shape)} in the file, of {tuple(own.shape)} in the network")
    plain = values.layout is torch.strided and values.device.type == "cpu" and not values.is_quantized
    if not plain or values.dtype.is_floating_point != own.dtype.is_floating_point or values.is_complex():
        raise ValueError(f"{place} is of {values.dtype}, {values.layout}, on {values.device}")
    values = values.to(own.dtype)
    if not values.isfinite().all() or (place.endswith("running_var") and (values < 0).any()):
        raise ValueError(f"{place} is not finite, or a variance below 0")
    return values


def _downloaded(name: str) -> Mapping[str, Any]:
    import torch.hub
    from torchvision.models import get_model_weights  # type: ignore[import-untyped]

    remedy = f"give a file with --network.trunk_weights, or {NONE}"
    if name in OTHERS:
        raise SettingError(f"network.trunk_weights: torchvision has none of {name}; {remedy}")
    try:
        weights: Mapping[str, Any] = get_model_weights(name).DEFAULT.get_state_dict(progress=True, check_hash=True)
    except Exception as error:  # no network, no disk, a file of the wrong hash, or what unpickling raises
        why = str(error).partition("\n")[0] or type(error).__name__
        raise SettingError(
            f"network.trunk_weights: those of {name} could not be downloaded, or read in {torch.hub.get_dir()} "
            f"({why}); go online once, or {remedy}"
        ) from error
    return weights


def _read(file: str) -> Mapping[str, Any]:
    try:
        check_file(file)
        if Path(file).suffix.lower() == ".safetensors":
            return Unordered(load_file(file))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of kinds of tensors that are refused
            found = torch.load(file, "cpu", weights_only=True)
    except FileNotFoundError:
        raise SettingError(
            f"network.trunk_weights: {file}: no such file; give the network's weights, {IMAGENET} or {NONE}"
        ) from None
    except Exception as error:  # unpickling raises what it likes
        why = str(error).partition("\n")[0].partition(". ")[0] or type(error).__name__
        raise SettingError(
            f"network.trunk_weights: {file}: no readable weights ({why}); give a state_dict of the network"
        ) from error
    for wrapped in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(wrapped), Mapping):
            found = found[wrapped]
    return {str(name): values for name, values in found.items()} if isinstance(found, Mapping) else {}
