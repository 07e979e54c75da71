"""Weighted sums of losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class WeightedSum(nn.Module):
    """Σ_i w_i · L_i of an estimate and its target, both ``(B, K, H, W)``, in single precision at least.

    Args:
        terms: name → loss.
        settings: name → the term's settings and its ``weight``.
    """

    def __init__(self, terms: Mapping[str, nn.Module], settings: Mapping[str, Mapping[str, Any]]):
        super().__init__()
        self.terms = nn.ModuleDict(terms)
        self.settings = {name: dict(values) for name, values in settings.items()}

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        precise = torch.promote_types(estimate.dtype, torch.float32)
        estimate, target = estimate.to(precise), target.to(precise)
        with torch.autocast(estimate.device.type, enabled=False):  # SSIM's variances are small differences
            losses = [self.settings[name]["weight"] * term(estimate, target) for name, term in self.terms.items()]
        return torch.stack(losses).sum()

    def check(self, *shape: int) -> None:
        """Raise a SettingError when maps of that shape, e.g. ``(1, 32, 32)``, cannot be judged."""
        self(torch.zeros(1, *shape), torch.zeros(1, *shape))
