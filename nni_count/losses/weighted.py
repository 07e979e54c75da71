"""Weighted sums of losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nni_count.errors import SettingError
from nni_count.losses.scene import Scene


class WeightedSum(nn.Module):
    """Σ_i w_i · L_i of an estimate and its target, both ``(B, K, H, W)``, or of a scene, in single precision at least.

    Args:
        terms: name → loss.
        settings: name → the term's settings and its ``weight``.
    """

    def __init__(self, terms: Mapping[str, nn.Module], settings: Mapping[str, Mapping[str, Any]]):
        super().__init__()
        self.terms = nn.ModuleDict(terms)
        self.settings = {name: dict(values) for name, values in settings.items()}

    @property
    def needs_points(self) -> bool:
        """Whether a term is of points, so that :meth:`forward` needs a scene."""
        return any(getattr(term, "needs_points", False) for term in self.terms.values())

    def forward(
        self,
        estimate: Tensor,
        target: Tensor,
        scene: Scene | None = None,
        instead: Mapping[str, Callable[[Tensor, Tensor], Tensor]] | None = None,
    ) -> Tensor:
        """The sum; ``instead`` are functions in the place of terms without settings, such as a searched pyramid."""
        if scene is None and self.needs_points:
            raise SettingError(f"loss {', '.join(self.settings)}: needs the points of its maps, give a scene")
        precise = torch.promote_types(estimate.dtype, torch.float32)
        estimate, target = estimate.to(precise), target.to(precise)
        with torch.autocast(estimate.device.type, enabled=False):  # SSIM's variances are small differences
            losses = []
            for name, term in self.terms.items():
                alone = len(self.settings[name]) == 1  # with a weight only
                loss = (instead or {}).get(name, term) if alone else term
                of = (scene,) if getattr(loss, "needs_points", False) else (estimate, target)
                losses.append(self.settings[name]["weight"] * loss(*of))
        return torch.stack(losses).sum()
