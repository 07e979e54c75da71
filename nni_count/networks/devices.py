"""Devices by Lightning's words, without Lightning."""

from __future__ import annotations

from typing import Any

import torch

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


def processor() -> dict[str, Any]:
    """What the processor is capable of, as far as PyTorch can tell; empty where it cannot."""
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older ones do not tell
    return found
