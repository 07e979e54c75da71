"""Losses, a file each with its pure function: of maps, estimate and target ``(B, K, H, W)`` → a scalar; or of points, a
:class:`nni_count.losses.scene.Scene` → a scalar, where the class ``needs_points``.
"""

from __future__ import annotations

import inspect
import math
from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from nni_count.errors import SettingError
from nni_count.losses.bayesian import BayesianLoss
from nni_count.losses.count import CountLoss
from nni_count.losses.dm_count import DMCountLoss
from nni_count.losses.euclidean_ssim import EuclideanSSIMLoss
from nni_count.losses.poisson import PoissonLoss
from nni_count.losses.scale_pyramid import ScalePyramidLoss
from nni_count.losses.spatial_abstraction import SpatialAbstractionLoss
from nni_count.losses.spatial_correlation import SpatialCorrelationLoss
from nni_count.losses.square_error import SquareError
from nni_count.losses.weighted import WeightedSum
from nni_count.losses.zero_inflated import ZeroInflatedLoss
from nni_count.plugins import entries

#: name → class, whose arguments are the term's settings; another is added here, or by an entry point of any package
LOSSES: ChainMap[str, type[nn.Module]] = ChainMap(
    {
        "mse": SquareError,
        "sppl": ScalePyramidLoss,
        "sal": SpatialAbstractionLoss,
        "scl": SpatialCorrelationLoss,
        "euclidean_ssim": EuclideanSSIMLoss,
        "count": CountLoss,
        "bayesian": BayesianLoss,
        "dm_count": DMCountLoss,
        "poisson": PoissonLoss,
        "zip": ZeroInflatedLoss,
    },
    entries("losses"),
)

#: what a loss is written as: a name, or names with weights, or with a weight and settings
LossSetting = Mapping[str, Any] | str


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
