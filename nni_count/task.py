"""What is regressed: how a sample becomes a target map and how a map is read. Counting is the first task."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from nni_count.data.adaptive import adaptive_sigma
from nni_count.data.density import density_map


@dataclass(frozen=True)
class Counting:
    """Counting by density: the map is people per pixel × ``density_scale``, and its sum is the count.

    A network that answers a map of stride s gives the mean density of s×s pixels, so the values keep their size
    whatever the stride.

    Args:
        sigma: of the Gaussian that a head becomes, in pixels.
        kernel_size: width at which the Gaussian is cut off, in pixels.
        density_scale: what densities are multiplied with for training; never visible outside.
        beta: where given, kernels are geometry-adaptive, σ = beta × the mean distance to the 3 nearest heads of the
            image (:func:`nni_count.data.adaptive.adaptive_sigma`), and ``sigma`` and ``kernel_size`` are not used.
    """

    sigma: float = 4.0
    kernel_size: int = 15
    density_scale: float = 100.0
    beta: float | None = None

    @property
    def out_channels(self) -> int:
        return 1

    @property
    def settings(self) -> dict[str, Any]:
        """What builds this task again."""
        return asdict(self)

    def truth(self, points: np.ndarray, shape: tuple[int, int], stride: int = 1) -> np.ndarray:
        """People per cell, ``(ceil(H / stride), ceil(W / stride))`` float32; points outside the shape are left out."""
        if self.beta is not None:
            return density_map(points, shape, sigma=adaptive_sigma(points, beta=self.beta), stride=stride)
        return density_map(points, shape, sigma=self.sigma, kernel_size=self.kernel_size, stride=stride)

    def target(self, points: np.ndarray, shape: tuple[int, int], stride: int) -> np.ndarray:
        """The map to learn, ``(1, ceil(H / stride), ceil(W / stride))`` float32.

        Args:
            points: all those of the image, also for a crop: heads outside it are neighbours of those inside.
        """
        return self.truth(points, shape, stride)[None] * np.float32(self.density_scale / stride**2)

    def density(self, output: Tensor, stride: int) -> Tensor:
        """People per cell from a network's output; any shape."""
        return output * (stride**2 / self.density_scale)

    def count(self, output: Tensor, stride: int) -> Tensor:
        """People an image: ``(B, 1, h, w) → (B,)``."""
        return self.density(output, stride).sum((1, 2, 3))
