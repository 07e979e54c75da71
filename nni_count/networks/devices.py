"""Devices by Lightning's words, without Lightning."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import nn

from nni_count.errors import SettingError


def find_device(accelerator: str = "auto", devices: int = 1) -> torch.device:
    """The one device that Lightning's words name, found by torch alone: Lightning takes twice as long to import.

    Args:
        accelerator: ``auto``, ``cpu``, ``gpu``, ``cuda`` or ``mps``.
        devices: how many of them: 1.

    Raises:
        SettingError: there is no such accelerator here, or several devices are asked for.
    """
    if devices != 1:
        raise SettingError(f"devices: {devices}; a model is applied on one, leave it out")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    known = {"auto": [*there], "gpu": ["cuda", "mps"], **{name: [name] for name in there}}
    found = [name for name in known.get(accelerator, ()) if there[name]]
    if not found:
        usable = ", ".join(name for name, names in known.items() if any(there[one] for one in names))
        raise SettingError(f"accelerator: {accelerator!r} is not here; choose among {usable}")
    return torch.device(found[0])


#: what is said where it does
IMITATED = "precision: bf16-mixed is slower than 32-true here, since this processor does not have bfloat16"


def imitates_bfloat16() -> bool:
    """Whether this processor has no bfloat16, and computes in it 5 to 10 times slower."""
    return not processor().get("avx512_bf16", True)


def badly_learnt(model: nn.Module) -> str:
    """The name of a convolution whose gradients oneDNN computes wrongly in bfloat16 on this processor, else ``""``.

    They are those of the weights of dilated ones, of groups or of such channels, with channels last (torch 2.14).
    """
    for name, layer in model.named_modules():
        dilated = isinstance(layer, nn.Conv2d) and max(layer.dilation) > 1
        if dilated and (layer.groups > 1 or (layer.in_channels > 16 and layer.in_channels % 16)) and _is_wrong():
            return f"{name}, a dilated convolution of {layer.in_channels} channels,"
    return ""


@cache
def _is_wrong() -> bool:
    ones = torch.ones(1, 17, 32, 32, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    kernel = torch.zeros(17, 17, 3, 3, dtype=torch.bfloat16, requires_grad=True)
    (found,) = torch.autograd.grad(nn.functional.conv2d(ones, kernel, padding=2, dilation=2), kernel, ones)
    return not bool(((found[:, :, 1, 1] - 1024).abs() < 8).all())


def processor() -> dict[str, Any]:
    """What the processor is capable of, as far as PyTorch can tell; empty where it cannot."""
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older ones do not tell
    return found
