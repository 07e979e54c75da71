"""Counting several kinds at once: a density map a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from nni_count.data.sample import Sample
from nni_count.tasks.counting import Counting
from nni_count.tasks.task import Figures, Task


@dataclass(frozen=True)
class CountingClasses(Task):
    """The k-th map is the density of the points with label k; its sum counts them.

    Args:
        classes: what the kinds are called, in the order of their labels.
        sigma: of the Gaussian that a point becomes, in pixels.
    """

    classes: Sequence[str] = ("nuts", "bolts")
    sigma: float = 3.0

    main_metric = "mae"  # the mean of the classes' own
    unit = "objects per pixel"
    noun = "count"

    @property
    def out_channels(self) -> int:
        return len(self.classes)

    @property
    def one(self) -> Counting:
        """How one kind alone is counted."""
        return Counting(sigma=self.sigma, kernel_size=round(4 * self.sigma) + 1)

    def target(self, sample: Sample, shape: tuple[int, int], stride: int) -> np.ndarray:
        alone = [replace(sample, points=sample.points[sample.labels == label]) for label in range(self.out_channels)]
        return np.concatenate([self.one.target(kind, shape, stride) for kind in alone])

    def estimate(self, output: Tensor, stride: int) -> Tensor:
        return self.one.estimate(output, stride)

    def batch_error(self, estimate: Tensor, target: Tensor) -> Tensor:
        return self.one.batch_error(estimate, target)

    def measure(self, estimate: np.ndarray, sample: Sample, shape: tuple[int, int]) -> Figures:
        truths = [int((sample.labels == label).sum()) for label in range(self.out_channels)]
        sums = [float(density.sum(dtype=np.float64)) for density in estimate]
        estimates = {f"{name}_estimate": count for name, count in zip(self.classes, sums, strict=True)}
        return {**dict(zip(self.classes, truths, strict=True)), **estimates}

    def prior(self, samples: Sequence[Sample]) -> Figures:
        means = [float(np.mean([(s.labels == label).sum() for s in samples])) for label in range(self.out_channels)]
        return {f"training_mean_{name}": mean for name, mean in zip(self.classes, means, strict=True)}

    def summarise(self, rows: Sequence[Figures], prior: Mapping[str, Any]) -> Figures:
        truths = np.array([[row[name] for name in self.classes] for row in rows], float)
        errors = np.array([[row[f"{name}_estimate"] for name in self.classes] for row in rows]) - truths
        each = dict(zip(self.classes, np.abs(errors).mean(0).tolist(), strict=True))
        figures = {"mae": float(np.mean(list(each.values()))), **{f"mae_{name}": mae for name, mae in each.items()}}
        figures["mae_total"] = float(np.abs(errors.sum(1)).mean())
        if prior:
            means = [prior[f"training_mean_{name}"] for name in self.classes]
            figures["constant_mae"] = float(np.abs(truths - means).mean())
        return figures

    @property
    def readings(self) -> dict[str, Callable[[np.ndarray], Any]]:
        each = {name: partial(_sum, channel=channel) for channel, name in enumerate(self.classes)}
        return {**each, "total": np.sum}


def _sum(estimate: np.ndarray, channel: int) -> float:
    return float(estimate[channel].sum())
