"""The searched pyramid of the loss (NAS-Count, section 3.2): three poolings of six candidates each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nni.nas.nn.pytorch import LayerChoice
from torch import Tensor, nn

from nni_count.architecture import PYRAMID_LEVELS
from nni_count.losses import scale_pyramid_loss
from nni_count.ops import POOLINGS

LABELS = tuple(f"pooling_{level}" for level in range(1, PYRAMID_LEVELS + 1))


class SearchedPyramid(nn.Module):
    """The loss of an estimate and its target, both ``(B, K, h, w)``, at every level of one cascade of choices."""

    def __init__(self) -> None:
        super().__init__()
        self.poolings = nn.ModuleList(
            LayerChoice({name: build() for name, build in POOLINGS.items()}, label=label) for label in LABELS
        )

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        return scale_pyramid_loss(estimate, target, list(self.poolings))

    def decode(self, sample: Mapping[str, Any]) -> tuple[str, ...]:
        """The chosen poolings, finest level first."""
        return tuple(sample[label] for label in LABELS)
