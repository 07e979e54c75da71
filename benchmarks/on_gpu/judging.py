"""The test part, once: counts as soon as the maps are there; what takes a second an image, by processes meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import cv2
import torch

from nni_count.data.dataset import Dataset
from nni_count.model import Model


def judge(model: Model, data: Dataset, processes: int) -> Iterator[dict[str, Any]]:
    """The figures of the test part, as ``nni_count.evaluate`` has them: whole images, in single precision.

    First those of the counts, then all of them: images of a hundred sizes, each new to cuDNN, take more than a minute,
    and a run that is cut off has the errors.
    """
    task, samples = model.task, data.samples("test")
    prior = task.prior(data.samples("train"))
    with ProcessPoolExecutor(max(1, processes), get_context("fork"), _start) as pool:
        counted, examined = [], []
        for sample in samples:
            image = sample.read()
            known = model.map(image), sample, image.shape[:2]
            counted.append(task.measure(*known))
            examined.append(pool.submit(task.examine, *known))
        yield {"images": len(counted), **task.summarise(counted, prior)}
        rows = [{**row, **future.result()} for row, future in zip(counted, examined, strict=True)]
    yield {"images": len(rows), **task.summarise(rows, prior)}


def _start() -> None:
    """The processes are as many as the cores; OpenMP's and OpenCV's threads do not survive a fork."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
