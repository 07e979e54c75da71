"""How good a network is on whole images: the one judge of searches, trials and retrainings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cmp_to_key
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from nni_count.data.sample import Sample
from nni_count.networks import Network
from nni_count.networks.whole_image import whole_map
from nni_count.tasks.task import Figures, Task

T = TypeVar("T")


def judge(network: Network, task: Task, samples: Sequence[Sample], images: Iterable[Tensor]) -> float:
    """The task's main metric of a network, NaN where it has none; the network is in evaluation mode afterwards.

    Args:
        network: that estimates.
        task: that measures.
        samples: with the truth.
        images: theirs, ``(3, H, W)``, normalised.
    """
    network.eval()
    pairs = zip(samples, images, strict=True)
    return main_figure(task, [judge_image(network, task, sample, image) for sample, image in pairs])


def judge_image(network: Network, task: Task, sample: Sample, image: Tensor) -> Figures:
    """The figures of one image; arguments as for :func:`judge`."""
    return task.measure(estimate_map(network, task, image), sample, (image.shape[-2], image.shape[-1]))


def main_figure(task: Task, rows: Sequence[Figures]) -> float:
    """The main metric of a set from the figures of its images, NaN where it has none."""
    figure = task.summarise(rows, {})[task.main_metric]
    return math.nan if figure is None else float(figure)


def best_first(things: Iterable[T], task: Task, figure: Callable[[T], float]) -> list[T]:
    """Things by their main metric as the task ranks it, those without a number last."""

    def compare(one: float, other: float) -> int:
        return task.is_better(other, one) - task.is_better(one, other)

    key = cmp_to_key(compare)
    return sorted(things, key=lambda thing: (math.isnan(figure(thing)), key(figure(thing))))


@torch.inference_mode()
def estimate_map(network: Network, task: Task, image: Tensor, views: int = 1) -> np.ndarray:
    """What a network estimates of a whole image ``(3, H, W)``, in the task's unit: ``(K, h, w)`` float32; ``views`` as
    for :func:`whole_map`.
    """
    output = whole_map(network, image, views).float()
    result: np.ndarray = task.estimate(output, network.map_stride)[0].cpu().numpy()
    return result
