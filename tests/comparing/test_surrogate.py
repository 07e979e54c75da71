"""The surrogate of a table, and the answers that searches get from both."""

import pickle

import numpy as np
import pytest
from conftest import random_architecture
from made_up import made_up, planted, table_of

from nni_count.architecture import Architecture
from nni_count.comparing import surrogate as surrogates
from nni_count.comparing.answers import Answers
from nni_count.comparing.surrogate import FEWEST, features, fit_surrogate
from nni_count.errors import ArchitectureError, DataError, SettingError

NUMBER = 60


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return planted(tmp_path_factory.mktemp("table") / "t.npz", NUMBER)


@pytest.fixture(scope="module")
def surrogate(table):
    return fit_surrogate(table, "cells")


def test_it_finds_what_makes_networks_good(table, surrogate):
    assert surrogate.architectures == NUMBER
    assert surrogate.correlation > 0.7
    assert surrogate.interval[0] < surrogate.correlation < surrogate.interval[1]
    assert surrogate.noise == pytest.approx(0.05, rel=0.4)
    assert surrogate.ceiling > 0.9
    assert f"{surrogate.correlation:.2f}" in str(surrogate)
    good, bad = (random_architecture(0, (operation, "conv_1x1")) for operation in ("dil_conv_3x3", "sep_conv_7x7"))
    assert np.divide(*surrogate.predict([good, bad])) < 0.8
    predicted = surrogate.predict(table.architectures)
    assert np.corrcoef(np.log(predicted), np.log(list(table.errors("cells").values())))[0, 1] > 0.8


def test_any_regressor_may_be_chosen_and_goes_to_other_processes(table, monkeypatch):
    usual, few = surrogates._regressors, table.architectures[:3]
    for names in [(name,) for name in usual(np.array([True]))] + [("ridge of cells", "gradient boosting")]:
        monkeypatch.setattr(surrogates, "_regressors", lambda edges, names=names: {n: usual(edges)[n] for n in names})
        with monkeypatch.context() as patch:
            if len(names) > 1:
                patch.setattr(surrogates, "min", lambda *_, **__: "mean of all", raising=False)
            found = fit_surrogate(table, "cells")
        assert found.regressor == (names[0] if len(names) == 1 else "mean of all")
        assert pickle.loads(pickle.dumps(found)).predict(few).tolist() == found.predict(few).tolist()
        assert np.isfinite(found.predict(few)).all()


def test_it_says_so_where_there_is_nothing_to_find(tmp_path):
    errors = np.random.default_rng(0).uniform(5, 50, (30, 2)).tolist()
    found = fit_surrogate(table_of(tmp_path / "t.npz", made_up(30, errors), 30), "cells")
    assert abs(found.correlation) < 0.5
    assert found.residual > 0.3


def test_a_table_that_is_too_small_says_how_many_it_lacks(table, tmp_path):
    once = table_of(tmp_path / "t.npz", made_up(30, [[place + 1] for place in range(30)]), 30)
    with pytest.raises(DataError, match=f"of cells it has 30 architectures, 0 of them with two .* needs {FEWEST}"):
        fit_surrogate(once, "cells")
    with pytest.raises(SettingError, match="'cars' is not in the table"):
        fit_surrogate(table, "cars")


def test_cells_of_any_size_and_operation_are_described():
    small = features(
        Architecture({2: {0: "skip", 1: "none"}}, {3: {0: "dil_conv_3x3"}, 4: {3: "conv_1x1"}}, ("avg_2x2",))
    )
    assert (small["extraction skip"], small["extraction depth"], small["extraction weights"]) == (1, 0, 0)
    assert (small["fusion depth"], small["fusion reach"]) == (2, 4)  # 3×3 of dilation 2 looks 2 to each side
    assert "extraction none" not in small
    empty = features(Architecture({2: {0: "none"}, 3: {1: "skip"}}, {3: {0: "skip"}}, ("avg_2x2",)))
    assert empty["extraction empty nodes"] == 1


def test_answers_are_the_rows_of_what_was_trained(table, surrogate):
    answers = Answers(table, "cells", surrogate)
    for architecture in table.architectures[:10]:
        rows = [row.error for row in table.of(architecture)]
        assert {answers.ask(architecture, seed) for seed in range(20)} == {(error, np.mean(rows)) for error in rows}
    assert answers.lowest == min(table.errors("cells").values())


def test_answers_of_others_are_the_surrogates_with_the_noise_of_seeds(table, surrogate):
    answers, other = Answers(table, "cells", surrogate), random_architecture(999)
    told, errors = np.array([answers.ask(other, seed) for seed in range(300)]).T
    assert set(errors) == {surrogate.predict([other])[0]}
    assert np.log(told / errors).std() == pytest.approx(surrogate.noise, rel=0.2)
    assert answers.ask(other, 3) == (told[3], errors[3])
    with pytest.raises(ArchitectureError, match=f"none of the {NUMBER} that the table trained on cells"):
        Answers(table, "cells").ask(other, 0)


def test_a_training_without_a_result_is_as_bad_as_the_worst(tmp_path):
    table = table_of(tmp_path / "t.npz", made_up(3, [[1, 2], [5, 4], [float("nan"), 3]]), 3)
    assert {Answers(table, "cells").ask(table.architectures[2], seed)[0] for seed in range(9)} == {3, 5}
