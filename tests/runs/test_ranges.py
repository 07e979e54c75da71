"""Each setting's range stands beside it, holds for its default, and is checked by whoever is given it."""

import math
from typing import Annotated

import numpy as np
import pytest

import nni_count
from nni_count.errors import SettingError
from nni_count.runs.ranges import Range, check
from nni_count.searching.settings import EarlyStop
from search_spaces import AMSNetSpace
from strategies import DARTS, ENAS, GDAS, TPE, PartialChannel, RandomOneShot, RegularizedEvolution

KINDS = (
    *(nni_count.Augmentation, nni_count.Crops, nni_count.Recipe, nni_count.TrainingRecipe, nni_count.Budget),
    *(
        nni_count.Compute,
        nni_count.SearchBudget,
        EarlyStop,
        nni_count.Decoding,
        nni_count.Trials,
        nni_count.RandomBudget,
    ),
    *(nni_count.Cost, nni_count.Counting, DARTS, ENAS, GDAS, TPE),
    *(PartialChannel, RandomOneShot, RegularizedEvolution),
)


@pytest.mark.parametrize("kind", [*KINDS, AMSNetSpace])
def test_what_lies_outside_its_range_is_refused_and_named(kind):
    from nni_count.runs.ranges import _ranges

    found = _ranges(kind if hasattr(kind, "__dataclass_fields__") else kind.__init__)
    assert found
    kind()
    for name, (_, kinds) in found.items():
        whole, optional, several = int in kinds, type(None) in kinds, tuple in kinds
        for value in (
            -1,
            math.nan,
            math.inf,
            "x",
            True,
            *([1.5] if whole else []),
            *([] if optional else [None]),
            *([] if several else [[]]),
        ):
            with pytest.raises(SettingError, match=rf"{name}|crop_size: "):
                kind(**{name: value})


def test_all_are_told_together():
    with pytest.raises(SettingError, match=r"learning_rate: -1; .*; weight_decay: nan; "):
        nni_count.Recipe(learning_rate=-1, weight_decay=math.nan)
    for seed in (-1, 1 << 32, 0.5):
        with pytest.raises(SettingError, match="seed: "):
            nni_count.retrain(data="x", out="x", seed=seed)
        for command in (nni_count.search, nni_count.trial):
            with pytest.raises(SettingError, match="seed: "):
                command(data="x", space=None, strategy=None, out="x", seed=seed)


def test_a_range():
    def function(
        a: Annotated[int, Range(1, 3)],
        c: Annotated[tuple[int, ...], Range(1)],
        b: Annotated[float, Range(0, 1, above=True, below=True)] | None = None,
    ):
        pass

    check(function, {"a": 3, "b": None, "other": -1})
    check(function, {"a": np.int64(2), "b": np.float32(0.5), "c": [1, 2]})
    for values in (
        {"a": 4},
        {"a": 1.0},
        {"a": [1, 2]},
        {"a": None},
        {"c": [1, 2.5]},
        {"c": None},
        {"b": 0},
        {"b": 1},
        {"b": {}},
    ):
        with pytest.raises(SettingError, match="; give a number"):
            check(function, values)
