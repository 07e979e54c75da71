"""Settings that several commands share, and how they are checked."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from pytorch_lightning.callbacks import Timer

from nni_count.errors import SettingError

PRECISIONS = ("32-true", "bf16-mixed")  # 16-mixed would clip gradients that are still scaled


def check_choice(name: str, value: str, known: Iterable[str]) -> None:
    """Refuse a value that is not among the known ones, which the :class:`SettingError` lists."""
    if value not in known:
        raise SettingError(f"{name}: {value!r} is unknown; choose {' or '.join(known)}")


def check_precision(precision: str, accelerator: str) -> None:
    """Refuse an unknown precision; warn of bfloat16 on a processor that only imitates it, 5 to 10 times slower."""
    check_choice("precision", precision, PRECISIONS)
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available())
    if precision == "bf16-mixed" and on_cpu and not processor().get("avx512_bf16", True):
        warnings.warn(
            "precision: bf16-mixed is slower than 32-true here, since this processor does not have bfloat16",
            stacklevel=3,
        )


def processor() -> dict[str, Any]:
    """What the processor is capable of, as far as PyTorch can tell; empty where it cannot."""
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older ones do not tell
    return found


def run_timer(max_time: str | None, interval: str = "step") -> Timer:
    """Lightning's timer, which ends a run after ``DD:HH:MM:SS``, at the end of a ``step`` or of an ``epoch``."""
    try:
        return Timer(max_time, interval=interval, verbose=False)
    except Exception as error:
        raise SettingError(f"max_time: {max_time!r} is no duration; write DD:HH:MM:SS, e.g. 00:00:30:00") from error
