"""The perspective of a scene from its image: no count, no sum, the figures of depth estimation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from nni_count.data.sample import Sample
from nni_count.tasks.task import Distance, Figures, Task, middles


@dataclass(frozen=True)
class Perspective(Task):
    """The map says how many pixels a metre has at each pixel; where it is 0, nothing is known and nothing compared.

    Args:
        usual: pixels a metre that the network answers with 1.
    """

    usual: float = 50.0

    main_metric = "relative_error"
    unit = "pixels a metre"
    noun = "perspective"

    def target(self, sample: Sample, shape: tuple[int, int], stride: int) -> np.ndarray:
        return middles(sample.map(shape), stride) * (sample.zoom / self.usual)  # a metre grows with the crop

    def loss(self, estimate: Tensor, target: Tensor, distance: Distance) -> Tensor:
        """The distance of estimate over truth from 1: relative errors count, near and far alike."""
        known = (target > 0).to(estimate.dtype)
        return distance(known * estimate / target.clamp(min=1e-3), known)

    def estimate(self, output: Tensor, stride: int) -> Tensor:
        return output * self.usual

    def measure(self, estimate: np.ndarray, sample: Sample, shape: tuple[int, int]) -> Figures:
        truth = sample.map(shape)[0]
        known = truth > 0
        truth, found = truth[known], cv2.resize(estimate[0], shape[::-1], interpolation=cv2.INTER_LINEAR)[known]
        ratio = np.maximum(found, 1e-6) / truth
        return {
            "relative_error": float(np.abs(ratio - 1).mean()),
            "rmse": float(np.sqrt(np.square(found - truth).mean())),
            "within_1.25": float((np.maximum(ratio, 1 / ratio) < 1.25).mean()),
        }

    @property
    def readings(self) -> dict[str, Callable[[np.ndarray], Any]]:
        return {"bottom": lambda estimate: estimate[0, -1].mean(), "perspective": lambda estimate: estimate[0]}
