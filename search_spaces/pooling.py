"""The searched pyramid of the loss (NAS-Count, section 3.2): three poolings of six candidates each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from nni_count.errors import SettingError
from nni_count.losses.scale_pyramid import scale_pyramid_loss
from nni_count.ops import POOLINGS
from nni_count.searching.nni import LayerChoice

#: how the levels of the pyramid are compared while searching
PYRAMIDS = ("published", "normalised")


class SearchedPyramid(nn.Module):
    """The loss of an estimate and its target, both ``(B, K, h, w)``, at every level of one cascade of choices.

    As published α minimises the very loss that it shapes, so it drifts to the pooling whose values are smallest, 6×6
    averages. Normalised, each level's error is relative to the truth's own values there, so that poolings are compared
    by how well they are met.

    Args:
        form: ``published`` or ``normalised``; see :func:`nni_count.losses.scale_pyramid.scale_pyramid_loss`.
        levels: of poolings, below the full size.

    Raises:
        SettingError: the form is another.
    """

    def __init__(self, form: str = "published", levels: int = 3):
        super().__init__()
        if form not in PYRAMIDS:
            raise SettingError(f"space.pyramid: {form!r} is unknown; choose {' or '.join(PYRAMIDS)}")
        self.normalised = form == "normalised"
        self.labels = [f"pooling_{level}" for level in range(1, levels + 1)]
        self.poolings = nn.ModuleList(
            LayerChoice({name: build() for name, build in POOLINGS.items()}, label=label) for label in self.labels
        )

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        return scale_pyramid_loss(estimate, target, list(self.poolings), self.normalised)

    def decode(self, sample: Mapping[str, Any]) -> tuple[str, ...]:
        """The chosen poolings, finest level first."""
        return tuple(sample[label] for label in self.labels)

    def sample(self, pooling: Sequence[str]) -> dict[str, Any]:
        """The NNI sample that :meth:`decode` turns into these poolings."""
        return dict(zip(self.labels, pooling, strict=True))
