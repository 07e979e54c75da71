"""What a search proposes, trained for real: who goes on, what is kept, and what an interruption costs."""

import csv
import math
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import random_architecture
from short import short

from nni_count.architecture import read_architecture, write_architecture
from nni_count.commands import search as module
from nni_count.errors import SettingError
from nni_count.searching.settings import Verification
from nni_count.searching.verification import distinct, perturbed, verify
from nni_count.tasks.counting import Counting
from nni_count.tasks.judging import best_first
from search_spaces import AMSNetSpace
from strategies import GDAS

search = short(module.search)
CANDIDATES = [random_architecture(seed) for seed in range(6)]
TASK = Counting()


class MoreIsBetter(Counting):
    larger_is_better = True


class Unbiased(Counting):
    def is_better(self, figure, other):
        return abs(figure) < abs(other)


SIX = Verification(6, "00:00:01:00")


class Trainer:
    """Answers at once: the better candidates are the later ones, but for the last, which is worst after a while."""

    def __init__(self):
        self.calls = []

    def __call__(self, architecture, folder, seconds):
        candidate = CANDIDATES.index(architecture)
        self.calls.append((candidate, seconds))
        error = 10.0 - candidate if candidate < 5 or seconds < 10 else math.nan
        return SimpleNamespace(parameters=100, facts={"validation_mae": error, "steps": seconds, "seconds": seconds})


def verified(folder, train, task=TASK):
    return verify(CANDIDATES, train, folder, SIX, task)


def test_each_round_takes_as_long_and_the_better_half_goes_on():
    assert SIX.plan == [(6, 3), (3, 10), (2, 20)]
    assert Verification(2, "00:00:00:10").plan == [(2, 5)]
    with pytest.raises(SettingError, match=r"verify\.time: 00:00:00:10, and nothing is verified; give"):
        Verification(time="00:00:00:10")
    for number in range(2, 40):
        plan = Verification(number, "00:01:00:00").plan
        learned = [0, *(seconds for _, seconds in plan)]
        spent = sum(most * (learned[place + 1] - learned[place]) for place, (most, _) in enumerate(plan))
        assert spent <= 3600 + number  # whole seconds
        assert [most for most, _ in plan] == sorted((most for most, _ in plan), reverse=True)


@pytest.mark.rendered
def test_the_best_after_the_last_round_is_found_and_all_is_written_down(tmp_path):
    train = Trainer()
    best = verified(tmp_path, train)
    assert train.calls == [(n, 3) for n in range(6)] + [(5, 10), (4, 10), (3, 10)] + [(4, 20), (3, 20)]
    assert (best.extraction, best.fusion) == (CANDIDATES[4].extraction, CANDIDATES[4].fusion)
    assert best.provenance["verification"] == {"candidates": 6, "seconds": 59.0, "chosen": 4, "mae": 6.0}
    with open(tmp_path / "candidates.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["candidate"] for row in rows] == [str(candidate) for candidate, _ in train.calls]
    assert (rows[6]["mae"], rows[-1]["round"]) == ("nan", "3")
    assert (tmp_path / "candidates.png").stat().st_size > 5_000


def test_a_larger_figure_may_be_the_better_one(tmp_path):
    best = verified(tmp_path, Trainer(), MoreIsBetter())
    assert best.provenance["verification"]["chosen"] == 0


def test_a_task_says_itself_what_is_better():
    assert best_first([3.0, math.nan, -1.0, 2.0], TASK, float)[:3] == [-1.0, 2.0, 3.0]
    assert best_first([3.0, math.nan, -4.0, 2.0], Unbiased(), float)[:3] == [2.0, 3.0, -4.0]


def test_nothing_is_trained_twice(tmp_path):
    class Stopped(Trainer):
        def __call__(self, *arguments):
            if len(self.calls) == 7:
                raise KeyboardInterrupt
            return super().__call__(*arguments)

    with pytest.raises(KeyboardInterrupt):
        verified(tmp_path, Stopped())
    train = Trainer()
    assert verified(tmp_path, train) == verified(tmp_path / "uninterrupted", Trainer())
    assert train.calls == [(4, 10), (3, 10), (4, 20), (3, 20)]
    verified(tmp_path, again := Trainer())
    assert again.calls == []


def test_candidates_of_a_search_that_went_on_are_trained_anew(tmp_path):
    verified(tmp_path, Trainer())
    other = [CANDIDATES[1], *CANDIDATES[1:]]
    verify(other, train := Trainer(), tmp_path, SIX, TASK)
    assert train.calls == [(1, 3)]


@pytest.mark.parametrize(
    ("candidates", "time"), [(1, "00:00:10:00"), (-1, "00:00:10:00"), (60, "00:00:00:30"), (4, "x")]
)
def test_what_cannot_be_verified_is_refused(candidates, time):
    with pytest.raises(SettingError, match=r"verify\."):
        Verification(candidates, time)


def test_noise_is_in_the_scale_of_what_was_learned():
    """However little α has moved, about every second choice stays, and edges stay as many."""
    spread = np.random.RandomState(1).normal(size=(200, 9))
    for scale in (1e-4, 1.0):
        values = np.exp(scale * spread)
        alphas = {f"edge{n}": dict(zip("abcdefghi", row / row.sum(), strict=True)) for n, row in enumerate(values)}
        probabilities = {**alphas, "node": {0: 0.5, 1: 0.3, 2: 0.2}}
        own = {label: max(row, key=row.get) for label, row in alphas.items()}
        sample, noisy = perturbed({**own, "node": [0, 1]}, probabilities, np.random.RandomState(0))
        assert 0.35 < np.mean([sample[label] == own[label] for label in own]) < 0.65
        assert sample["node"] in ([0, 1], [0, 2], [1, 2])
        assert all(sum(row.values()) == pytest.approx(1) for row in noisy.values())
        assert all(sample[label] == max(noisy[label], key=noisy[label].get) for label in own)


def test_proposals_that_compute_the_same_are_one():
    assert distinct([CANDIDATES[0], CANDIDATES[0], CANDIDATES[1]], 2) == CANDIDATES[:2]
    assert distinct([CANDIDATES[0]], 4) == CANDIDATES[:1]


@pytest.mark.filterwarnings("ignore")
def test_a_search_ends_with_the_best_of_its_candidates(shanghaitech, tmp_path):
    def searched(out, **settings):
        return search(
            data=shanghaitech, space=AMSNetSpace(cells=6, width=16, map_stride=4), strategy=GDAS(), out=tmp_path / out,
            crop_size=32, batch_size=1, max_epochs=1, limit_train_batches=1, validation_images=0,
            verify=Verification(2, "00:00:00:04"), **settings,
        )  # fmt: skip

    found = searched("run")
    told = found.provenance["verification"]
    assert told["candidates"] == 2
    assert told["mae"] > 0
    assert read_architecture(tmp_path / "run" / "architecture.yaml") == found
    table = (tmp_path / "run/verification/candidates.csv").read_text().splitlines()
    assert len(table) == 3
    write_architecture(CANDIDATES[0], tmp_path / "run" / "architecture.yaml")  # as if that one had been the best
    assert searched("run", resume=True) == found
    assert read_architecture(tmp_path / "run" / "architecture.yaml") == found
    assert (tmp_path / "run/verification/candidates.csv").read_text().splitlines() == table
