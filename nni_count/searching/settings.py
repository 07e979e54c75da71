"""Settings of a search that travel together: how long it goes on, and how an architecture is read from it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from nni_count.architecture import Architecture
from nni_count.errors import SettingError
from nni_count.ops import SKIP
from nni_count.runs.ranges import Range, check
from nni_count.searching.cost import Cost
from nni_count.searching.space import DECODES
from nni_count.training.settings import Budget, check_choice, timer


@dataclass(frozen=True)
class EarlyStop:
    """When a search ends before its last epoch; at the end of an epoch, warm-up left out.

    Args:
        skips: as soon as the extraction cell has this many skip connections, which take over when a search goes on for
            too long (Liang et al., DARTS+, 2019, stops at 2).
        unchanged: after the architecture was the same for this many epochs.
    """

    skips: Annotated[int, Range(1)] | None = None
    unchanged: Annotated[int, Range(1)] | None = None

    def __post_init__(self) -> None:
        check(EarlyStop, vars(self), "early_stop.")

    def reason(self, history: Sequence[Architecture]) -> str | None:
        """Why a search ends after architectures that were found, epoch after epoch; None where it goes on."""
        skips = sum(list(edges.values()).count(SKIP) for edges in history[-1].extraction.values())
        if self.skips is not None and skips >= self.skips:
            return f"the extraction cell has {skips} skip connections"
        last = [(found.extraction, found.fusion, found.pooling) for found in history[-(self.unchanged or 0) - 1 :]]
        if self.unchanged and len(last) > self.unchanged and all(found == last[0] for found in last):
            return f"the architecture has been the same for {self.unchanged} epochs"
        return None


@dataclass(frozen=True)
class Verification:
    """How what a search proposes is trained for real before the best of it is exported.

    Args:
        candidates: architectures that are trained, that of the search first; 0 leaves the verification out.
        time: of all these trainings together, ``DD:HH:MM:SS``; beside the time of the search itself.
    """

    candidates: int = 0
    time: str = "00:00:10:00"

    def __post_init__(self) -> None:
        if self.candidates < 0 or self.candidates == 1:
            raise SettingError(f"verify.candidates: {self.candidates}; give at least 2, or 0 for no verification")
        if not self.candidates and self.time != type(self).time:
            raise SettingError(
                f"verify.time: {self.time}, and nothing is verified; give verify.candidates too, such as 8"
            )
        if self.candidates and self.plan[0][1] < 1:
            raise SettingError(
                f"verify.time: {self.time} leaves {self.candidates} candidates less than a second each; "
                "give more time, or fewer candidates"
            )

    @property
    def plan(self) -> list[tuple[int, int]]:
        """How many candidates each round trains, and for how many seconds in all each has then learned.

        The better half goes on, and each round takes as long as the others (successive halving, Jamieson and
        Talwalkar, AISTATS 2016).
        """
        numbers = [self.candidates]
        while numbers[-1] > 2:
            numbers.append(math.ceil(numbers[-1] / 2))
        total = timer(self.time, "verify.time").time_remaining()
        shares = itertools.accumulate(total / len(numbers) / number for number in numbers)
        return [(number, int(share)) for number, share in zip(numbers, shares, strict=True)]


@dataclass(frozen=True)
class SearchBudget(Budget):
    """How long to search.

    Args:
        max_epochs: passes over the half for the weights; of a multi-trial strategy, for each trial.
        max_time: time in days, hours, minutes and seconds, ``DD:HH:MM:SS``; the search ends with the epoch in which
            it is over, and the start of the command comes on top.
        limit_train_batches: steps an epoch; None for all images.
        early_stop: when it ends by itself.
        verify: how its candidates are trained for real at its end.
        max_steps: of a retraining alone.
    """

    max_epochs: Annotated[int, Range(1)] = 80
    limit_train_batches: Annotated[int, Range(1)] | None = None
    early_stop: EarlyStop = EarlyStop()
    verify: Verification = Verification()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_steps is not None:
            raise SettingError(
                f"max_steps: {self.max_steps}; a search is as long as its epochs, give max_epochs and "
                "limit_train_batches (steps an epoch)"
            )


@dataclass(frozen=True)
class Decoding:
    """How an architecture is read from α and β after an epoch, and judged.

    Args:
        rule: ``paper``: edges by β, operations by α; ``joint``: edges by β × their best real operation, and that one;
            ``perturbation``: at the end of the search, what the trained space can least do without.
        cost: what the network of the found architecture may cost; α and β learn to keep to it, and what still lies
            above it is replaced by cheaper operations.
        validation_images: of the half for the architecture, on which the architecture that is strongest after an
            epoch is judged (``validation_mae``); 0 for none.
    """

    rule: str = "paper"
    cost: Cost | None = None
    validation_images: Annotated[int, Range(0)] = 10

    def __post_init__(self) -> None:
        check_choice("decode", self.rule, DECODES)
        check(Decoding, vars(self))
