"""Regret of searches, and what is said of their differences."""

import numpy as np
import pytest

from nni_count.comparing.regret import Searches, Simulation
from nni_count.comparing.statistics import mean_interval, paired


def simulation(**shifts):
    generator = np.random.default_rng(0)
    searches = {}
    for name, shift in shifts.items():
        errors = [generator.uniform(10, 20, 30) + shift for _ in range(40)]
        searches[name] = Searches.gathered(errors, [error.min() for error in errors], 30)
    return Simulation("cells", searches, "Random", 9.5, "a surrogate", 0.1)


def test_regret_never_increases_and_is_of_the_best_that_is_known():
    found = simulation(Random=0, Better=-2)
    assert found.best == min(9.5, found.searches["Better"].errors.min())
    for name in found.searches:
        mean, (low, high) = found.curve(name)
        assert (np.diff(mean) <= 0).all()
        assert ((low <= mean) & (mean <= high)).all()
        assert low.min() >= 0
    assert simulation(Random=0).best == 9.5


def test_a_search_that_ends_early_stays_where_it_is():
    found = Searches.gathered([np.array([3.0, 5.0, 1.0]), np.array([2.0])], [1.0, 2.0], 5)
    assert found.errors.tolist() == [[3, 3, 1, 1, 1], [2, 2, 2, 2, 2]]


def test_the_rows_and_the_table_say_the_same():
    found = simulation(Random=0, Better=-2, Same=0)
    rows = found.curve_rows()
    assert len(rows) == 3 * 30
    assert rows[-1]["regret"] == found.curve("Same")[0][-1]
    assert len(found.search_rows()) == 3 * 40
    head, _, first, *others = str(found).splitlines()
    assert "beside Random" in head
    assert first.startswith("| Better |")
    assert first.endswith("* |")
    assert not any("*" in line for line in others if line.startswith("| Same"))
    assert str(found).endswith("a surrogate")


def test_pairs_are_told_apart_and_corrected_for_their_number():
    generator = np.random.default_rng(0)
    baseline = generator.normal(0, 5, 50)
    near = baseline - 0.6 + generator.normal(0, 1, 50)
    alone = paired({"near": near}, baseline)["near"]
    assert alone.p < 0.01  # seeds differ by more than methods: only pairs tell
    assert alone.interval[0] < alone.difference < alone.interval[1] < 0
    noise = {f"noise {n}": baseline + generator.normal(0, 1, 50) for n in range(4)}
    among = paired({"near": near, **noise}, baseline)
    assert among["near"].p == pytest.approx(5 * alone.p)
    assert all(among[name].p > 0.05 for name in noise)
    assert paired({"same": baseline}, baseline)["same"].p == 1


def test_intervals_of_means_cover_them():
    means = np.random.default_rng(1).normal(3, 1, (200, 50, 1))
    covered = [low <= 3 <= high for low, high in (mean_interval(values)[:, 0] for values in means)]
    assert 0.88 < np.mean(covered) < 0.99
