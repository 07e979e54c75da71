"""A task is asked, before anything is trained, all that a training will ask."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nni_count.data.sample import Sample
from nni_count.errors import SettingError
from nni_count.runs.plain import check_plain
from nni_count.tasks.task import Task, checked_target, is_number


def check_task(task: Task, samples: Sequence[Sample]) -> None:
    """Ask a task, of the first training sample, all that a training will ask, before anything is trained.

    Raises:
        DataError: the target does not fit the image; naming its file.
        SettingError: it is no task, or gives no main metric.
    """
    if not isinstance(task, Task):
        raise SettingError(f"task: {type(task).__name__} is no nni_count.Task; give one that is")
    sample = samples[0]
    task.check(samples)
    name, prior, metric = type(task).__name__, task.prior(samples), getattr(task, "main_metric", "")
    try:  # the model is written with them, after the training
        check_plain({"settings": task.settings, "prior": prior})
    except ValueError as error:
        raise SettingError(f"task {name}: {error}") from None
    target = torch.from_numpy(checked_target(task, sample, shape := sample.read().shape[:2], 1))
    figures = task.summarise([task.measure(task.estimate(target, 1).numpy(), sample, shape)], prior)
    if not is_number(figures.get(metric)):
        known = f"its figures are {', '.join(figures) or 'none'}; name one of them that is a number"
        raise SettingError(
            f"{sample.source}: the task {name} has no metric for it: main_metric is {metric!r}, and {known}"
        )
