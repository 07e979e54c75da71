"""Settings that several commands share, and how they are checked."""

from __future__ import annotations

from collections.abc import Iterable

from pytorch_lightning.callbacks import Timer

from nni_count.errors import SettingError

PRECISIONS = ("32-true", "bf16-mixed")  # 16-mixed would clip gradients that are still scaled


def check_choice(name: str, value: str, known: Iterable[str]) -> None:
    """Refuse a value that is not among the known ones, which the :class:`SettingError` lists."""
    if value not in known:
        raise SettingError(f"{name}: {value!r} is unknown; choose {' or '.join(known)}")


def run_timer(max_time: str | None, interval: str = "step") -> Timer:
    """Lightning's timer, which ends a run after ``DD:HH:MM:SS``, at the end of a ``step`` or of an ``epoch``."""
    try:
        return Timer(max_time, interval=interval, verbose=False)
    except Exception as error:
        raise SettingError(f"max_time: {max_time!r} is no duration; write DD:HH:MM:SS, e.g. 00:00:30:00") from error
