"""What an architecture that was never trained would have become: predicted from those of a table."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from nni_count.architecture import Architecture
from nni_count.comparing.statistics import correlation_interval, seed_noise, spearman
from nni_count.comparing.trained import Table, edges_of
from nni_count.errors import DataError
from nni_count.ops import OPERATIONS

FEWEST = 20  # architectures, and with two seeds: what is fitted to fewer says nothing
FOLDS = 5
CHANNELS = 16  # at which operations are weighed against one another
EDGE = " → "  # in the names of what is known of a single edge


@dataclass(frozen=True)
class Surrogate:
    """Predicts errors of a data set of a table; what is said of it was measured on architectures that it had not seen.

    Args:
        data: name of the data set.
        regressor: the kind that was chosen.
        architectures: to which it was fitted.
        correlation: Spearman's, of predictions and errors, in as many folds as :data:`FOLDS`.
        interval: of that, 95 %, over resampled architectures.
        residual: standard deviation of the logarithm of error / prediction.
        noise: standard deviation of the logarithm of the error between two seeds of an architecture.
        ceiling: Spearman's correlation between two seeds.
        fitted: what makes features a matrix, the scales of its columns, and the regressor.
    """

    data: str
    regressor: str
    architectures: int
    correlation: float
    interval: tuple[float, float]
    residual: float
    noise: float
    ceiling: float
    fitted: tuple[Any, Any, Any]

    def predict(self, architectures: Sequence[Architecture]) -> np.ndarray:
        """Their errors, ``(N,)``: means over seeds."""
        vectorizer, scales, regressor = self.fitted
        inputs = vectorizer.transform([features(architecture) for architecture in architectures])
        errors: np.ndarray = np.exp(regressor.predict(inputs * scales))
        return errors

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.data}: surrogate ({self.regressor}) of {self.architectures} architectures; on those held out, "
            f"Spearman {self.correlation:.2f} (95% in {low:.2f} to {high:.2f}), residual {self.residual:.3f} of the "
            f"logarithm; between two seeds {self.ceiling:.2f} and {self.noise:.3f}"
        )


def check_enough(table: Table, data: str) -> tuple[dict[int, float], np.ndarray]:
    """What a surrogate is fitted to: the errors by architecture, and those of two seeds, ``(A, 2)``.

    Raises:
        SettingError: the table has no such data set.
        DataError: it has too few architectures.
    """
    errors = {number: error for number, error in table.errors(data).items() if 0 < error < np.inf}
    seeds = [table.errors(data, seed=seed) for seed in sorted({row.seed for row in table.select(data)})[:2]]
    twice = [number for number in errors if len(seeds) > 1 and all(number in of for of in seeds)]
    if len(twice) < FEWEST:
        raise DataError(
            f"table: of {data} it has {len(errors)} architectures, {len(twice)} of them with two seeds; a surrogate "
            f"needs {FEWEST}, let the table grow"
        )
    return errors, np.array([[of[number] for of in seeds] for number in twice])


def fit_surrogate(table: Table, data: str) -> Surrogate:
    """Fit several regressors to the logarithm of the errors, and take that which predicts held-out ones best.

    Raises:
        SettingError: the table has no such data set.
        DataError: it has too few architectures.
    """
    from sklearn.ensemble import VotingRegressor
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.model_selection import KFold, cross_val_predict

    errors, pairs = check_enough(table, data)
    vectorizer = DictVectorizer(sparse=False)
    inputs = vectorizer.fit_transform([features(table.architectures[number]) for number in errors])
    spread = inputs.std(0)
    scales = 1 / np.where(spread, spread, 1)
    inputs, target = inputs * scales, np.log(list(errors.values()))
    regressors = _regressors(np.array([EDGE in name for name in vectorizer.feature_names_]))
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a kernel's width at its bound is as good as any
        held_out = {name: cross_val_predict(one, inputs, target, cv=folds) for name, one in regressors.items()}
        held_out["mean of all"] = np.mean(list(held_out.values()), axis=0)
        name = min(held_out, key=lambda name: float(np.square(held_out[name] - target).mean()))
        chosen = regressors[name] if name in regressors else VotingRegressor(list(regressors.items()))
        chosen.fit(inputs, target)
    return Surrogate(
        data=data,
        regressor=name,
        architectures=len(errors),
        correlation=spearman(held_out[name], target),
        interval=correlation_interval(held_out[name], target),
        residual=float((target - held_out[name]).std()),
        noise=seed_noise(pairs)[1],
        ceiling=spearman(*pairs.T),
        fitted=(vectorizer, scales, chosen),
    )


def _regressors(edges: np.ndarray) -> dict[str, Any]:
    """By name. Of single ``edges``, a truth value an input, much is known, and there are few architectures: it counts
    for less than what is known of whole cells.
    """
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    def weighing(share: float, regressor: Any) -> Any:
        weights = np.where(edges, share, 1)
        return make_pipeline(FunctionTransformer(_weighed, kw_args={"weights": weights}), regressor)

    kernel = ConstantKernel(0.1) * DotProduct() + ConstantKernel(0.5) * RBF(10, (1, 1e3)) + WhiteKernel(0.3)
    return {
        "ridge of cells": weighing(0.03, RidgeCV(np.logspace(-1, 5, 19))),
        "ridge of edges": weighing(0.3, RidgeCV(np.logspace(-1, 5, 19))),
        "Gaussian process": weighing(0.1, GaussianProcessRegressor(kernel, normalize_y=True)),
        "gradient boosting": GradientBoostingRegressor(
            n_estimators=200, learning_rate=0.05, max_depth=4, subsample=0.5, max_features=0.2, random_state=0
        ),
    }


def _weighed(inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    weighed: np.ndarray = inputs * weights
    return weighed


def features(architecture: Architecture) -> dict[str, float]:
    """What is known of an architecture without training it.

    Which operation is on each edge; and of each kind of cell how many there are of each; weights, at the same channels
    and so as FLOPs are; the longest path, in operations with weights and in pixels; nodes that give zeros.
    """
    every = edges_of(architecture)
    found = {f"{kind} {source}{EDGE}{node} {name}": 1.0 for kind, node, source, name in every}
    for kind in architecture.kinds:
        edges = [edge[1:] for edge in every if edge[0] == kind.name]
        for *_, name in edges:
            found[f"{kind.name} {name}"] = found.get(f"{kind.name} {name}", 0.0) + 1.0
        depth, reach = [[0.0] * (len(kind.inputs) + kind.nodes) for _ in range(2)]
        for node, source, name in edges:  # node after node
            depth[node] = max(depth[node], depth[source] + (_weights(name) > 0))
            reach[node] = max(reach[node], reach[source] + _reach(name))
        found |= {
            f"{kind.name} weights": math.log1p(sum(_weights(name) for *_, name in edges)),
            f"{kind.name} depth": max(depth),
            f"{kind.name} reach": max(reach),
            f"{kind.name} mean reach": sum(reach) / kind.nodes,
            f"{kind.name} empty nodes": float(len({*kind.computed} - {node for node, *_ in edges})),
        }
    return found


@cache
def _module(operation: str) -> nn.Module:
    with torch.device("meta"):
        return OPERATIONS[operation].build(CHANNELS, True)


@cache
def _weights(operation: str) -> int:
    return sum(parameter.numel() for parameter in _module(operation).parameters())


@cache
def _reach(operation: str) -> int:
    """By how many pixels an operation looks around one."""
    convolutions = [part for part in _module(operation).modules() if isinstance(part, nn.Conv2d)]
    return sum((part.kernel_size[0] - 1) * part.dilation[0] for part in convolutions)
