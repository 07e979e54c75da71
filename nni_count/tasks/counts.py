"""Whether a task counts."""

from __future__ import annotations

import numpy as np

from nni_count.errors import SettingError
from nni_count.tasks.task import Task


def check_counts(task: Task, setting: str, label: str | None = None) -> None:
    """Refuse a task that counts nothing, or nothing of that label, with a :class:`SettingError`."""
    known = task.densities(np.zeros((task.out_channels, 1, 1), np.float32))
    name = type(task).__name__
    if not known:
        raise SettingError(f"{setting}: the model's task, {name}, counts nothing; leave it out, or give another model")
    if label is not None and label not in known:
        raise SettingError(f"label: {label!r} is unknown; {name} counts {', '.join(known)}")
