"""Multi-trial searches that train nothing: a table of trained architectures answers in the place of trainings."""

from __future__ import annotations

import copy
import logging
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl

from nni_count.architecture import Architecture
from nni_count.comparing.answers import Answers
from nni_count.comparing.trained import Table
from nni_count.errors import SettingError
from nni_count.searching.multi_trial.record import CombinedSpace
from nni_count.searching.multi_trial.search import seed_strategy
from nni_count.searching.nni import (
    ExecutionEngine,
    FinalMetricEvent,
    ModelSpace,
    ModelStatus,
    Strategy,
    TrainingEndEvent,
)
from nni_count.searching.space import Space, check_is_space

logging.getLogger("nni.nas.strategy").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Found:
    """What came of a simulated search.

    Args:
        errors: of the architectures that it tried, one after another, means over trainings, ``(T,)``.
        proposal: the one whose own training gave the lowest error, which a search exports.
        proposed: its error, the mean over trainings.
    """

    errors: np.ndarray
    proposal: Architecture
    proposed: float


class TableEngine(ExecutionEngine):
    """Answers what a strategy submits at once.

    Args:
        space: reads samples.
        answers: what trainings would have given.
        trials: after which the budget is spent.
        seed: of the search, and so of its trainings.
    """

    def __init__(self, space: Space, answers: Answers, trials: int, seed: int):
        super().__init__()
        self.space = space
        self.answers = answers
        self.trials = trials
        self.seed = seed
        self.models: list[CombinedSpace] = []
        self.errors: list[float] = []
        self.best: tuple[float, float, Architecture] | None = None

    def submit_models(self, *models: CombinedSpace) -> None:
        for model in models:
            if not self.budget_available():  # a strategy may submit without asking
                self.dispatch_model_event(TrainingEndEvent(model, ModelStatus.Interrupted))
                continue
            architecture = self.space.architecture(model.choices)
            told, error = self.answers.ask(architecture, self.seed)
            self.models.append(model)
            self.errors.append(error)
            if self.best is None or told < self.best[0]:
                self.best = told, error, architecture
            model.status = ModelStatus.Training
            self.dispatch_model_event(FinalMetricEvent(model, -told))
            self.dispatch_model_event(TrainingEndEvent(model, ModelStatus.Trained))

    def list_models(self, status: ModelStatus | None = None) -> Iterable[CombinedSpace]:
        return [model for model in self.models if status in (None, model.status)]

    def idle_worker_available(self) -> bool:
        return True

    def budget_available(self) -> bool:
        return len(self.errors) < self.trials

    def wait_models(self, *models: Any) -> None:
        """All are answered already."""


class QuickSpace(CombinedSpace):
    """A :class:`CombinedSpace` of which nothing is ever built, so that a sample need not be copied in depth."""

    def freeze(self, sample: dict[str, Any]) -> QuickSpace:
        self.validate(sample)
        model = copy.copy(self)
        model.metrics, model.status, model.sample = type(self.metrics)(), ModelStatus.Frozen, dict(sample)
        return model


@lru_cache(maxsize=1)
def _quick(space: ModelSpace) -> QuickSpace:
    """Strategies leave it as it is."""
    return cast(QuickSpace, QuickSpace.from_model(space))


def simulate_search(strategy: Strategy, space: ModelSpace, answers: Answers, trials: int, seed: int) -> Found:
    """Let a multi-trial strategy propose architectures as in a real search.

    Args:
        strategy: a fresh one, of any seed.
        space: what it searches.
        answers: what trainings would have given.
        trials: that it may make.
        seed: of the search.

    Raises:
        SettingError: the strategy has tried nothing.
        ArchitectureError: the answers are those of trained architectures alone, and another was tried.
    """
    pl.seed_everything(seed, verbose=False)
    seed_strategy(strategy, seed)
    engine = TableEngine(cast(Space, space), answers, trials, seed)
    with warnings.catch_warnings(), without_waiting():
        warnings.filterwarnings("ignore", ".*the node gives zeros")  # a proposal may well be a bad one
        strategy(_quick(space), engine)
    if engine.best is None:
        raise SettingError(f"strategy: {type(strategy).__name__} has tried no architecture of {type(space).__name__}")
    _, proposed, proposal = engine.best
    return Found(np.array(engine.errors), proposal, proposed)


@contextmanager
def without_waiting() -> Iterator[None]:
    """Strategies sleep for a second between two looks at their engine, which here has always answered."""
    sleep, here = time.sleep, threading.get_ident()
    time.sleep = lambda seconds: None if threading.get_ident() == here else sleep(seconds)
    try:
        yield
    finally:
        time.sleep = sleep


def check_space(space: ModelSpace, table: Table) -> None:
    """Refuse with a :class:`SettingError` a table whose architectures are of another space."""
    check_is_space(space)
    name = type(space).__name__
    choices = space.simplify().values()
    for number, architecture in enumerate(table.architectures):
        try:
            sample = cast(Space, space).sample(architecture)
            faults = [str(fault) for choice in choices if (fault := choice.check_contains(sample)) is not None]
        except (LookupError, TypeError, ValueError) as error:
            faults = [f"{type(error).__name__}: {error}"]
        if faults:
            raise SettingError(
                f"table: its architecture {number} is none of {name} ({' '.join(faults[0].split())}); give --space "
                "with that of the table"
            )
