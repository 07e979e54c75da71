"""The test part, once: maps on the device, their figures by several processes, since those take a second an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset as Items

from nni_count.data.dataset import Dataset
from nni_count.data.sample import Sample
from nni_count.model import Model
from nni_count.tasks.task import Figures, Task
from on_gpu.workers import each


class Judged(Items[Figures]):
    """What ``nni_count.evaluate`` asks the task of an image; item i of sample i."""

    def __init__(self, task: Task, samples: Sequence[Sample], maps: list[tuple[np.ndarray, tuple[int, int]]]):
        self.task = task
        self.samples = samples
        self.maps = maps

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Figures:
        estimate, shape = self.maps[index]
        known = estimate, self.samples[index], shape
        return {**self.task.measure(*known), **self.task.examine(*known)}


def judge(model: Model, data: Dataset, processes: int) -> dict[str, Any]:
    """The figures of the test part, as ``nni_count.evaluate`` has them: whole images, in single precision."""
    samples, maps = data.samples("test"), []
    for sample in samples:
        image = sample.read()
        maps.append((model.map(image), image.shape[:2]))
    rows = list(each(Judged(model.task, samples, maps), processes))
    figures = model.task.summarise(rows, model.task.prior(data.samples("train")))
    return {"images": len(rows), **figures}
