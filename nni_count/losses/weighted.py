"""Losses by name, and weighted sums of them as a setting."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nni_count.errors import SettingError
from nni_count.losses.modules import (
    CountLoss,
    EuclideanSSIMLoss,
    ScalePyramidLoss,
    SpatialAbstractionLoss,
    SpatialCorrelationLoss,
    SquareError,
)

#: name → class; its arguments are the term's settings
LOSSES: dict[str, type[nn.Module]] = {
    "mse": SquareError,
    "sppl": ScalePyramidLoss,
    "sal": SpatialAbstractionLoss,
    "scl": SpatialCorrelationLoss,
    "euclidean_ssim": EuclideanSSIMLoss,
    "count": CountLoss,
}

#: what a loss is written as: a name, or names with weights, or with a weight and settings
LossSetting = Mapping[str, Any] | str


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


def create_loss(setting: LossSetting | None = None, pyramid: Sequence[str] | None = None) -> WeightedSum:
    """The loss that a setting names.

    ``"sal"`` · ``{"sppl": 1, "scl": 0.1}`` · ``{"sppl": {"weight": 1, "poolings": ["avg_2x2", "max_4x4"]}}``. The known
    names are those of :data:`LOSSES`. ``sppl`` pools as ``pyramid`` says, where neither it nor ``poolings`` is given
    in three averages of 2×2.

    Args:
        setting: None for ``sppl`` with a searched pyramid, and ``mse`` without.
        pyramid: the poolings that a search found, finest level first.

    Raises:
        SettingError: naming the term or the setting that is unknown or does not fit.
    """
    if setting is None:
        setting = "mse" if pyramid is None else "sppl"
    if isinstance(setting, str):
        setting = {setting: 1.0}
    if not isinstance(setting, Mapping) or not setting:
        raise SettingError(f"loss: {setting!r}; give a name, or names with weights such as {{sppl: 1, scl: 0.1}}")
    terms, settings = {}, {}
    for name, value in setting.items():
        if name not in LOSSES:
            raise SettingError(f"loss: {name!r} is unknown; known: {', '.join(LOSSES)}")
        arguments = dict(value) if isinstance(value, Mapping) else {"weight": value}
        weight = _weight(name, arguments.pop("weight", 1.0))
        known = list(inspect.signature(LOSSES[name]).parameters)
        for argument in arguments:
            if argument not in known:
                raise SettingError(f"loss {name}: unknown setting {argument!r}; known: {', '.join(['weight', *known])}")
        if name == "sppl" and pyramid is not None:
            arguments.setdefault("poolings", list(pyramid))
        terms[name] = LOSSES[name](**arguments)
        settings[name] = {"weight": weight, **arguments}
    return WeightedSum(terms, settings)


def _weight(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise SettingError(f"loss {name}: weight {value!r}; give a number above 0")
    return float(value)
