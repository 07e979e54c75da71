"""``nni-count simulate``: strategies compared by searches that train nothing."""

import csv

import matplotlib.image
import pytest
from docs.pages import ROOT, blocks
from made_up import made_up, planted, table_of

import nni_count
from nni_count.cli import main
from nni_count.comparing import surrogate, trained
from nni_count.errors import DataError


@pytest.fixture(autouse=True)
def one_regressor(monkeypatch):
    """The others take seconds."""
    usual = surrogate._regressors
    monkeypatch.setattr(surrogate, "_regressors", lambda edges: {"ridge": usual(edges)["ridge of cells"]})


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "t.npz"
    planted(path, 40)
    return path


@pytest.mark.rendered
def test_strategies_are_compared_with_random(table, tmp_path, capsys):
    options = ["--table", str(table), "--seeds", "6", "--trials", "12", "--processes", "1"]
    strategies = ["--strategies", "[{name: RegularizedEvolution, population_size: 5}]"]
    assert main(["simulate", *options, *strategies, "--out", str(tmp_path / "a")]) == 0
    printed = capsys.readouterr().out
    assert "cells: 6 searches by RegularizedEvolution population_size=5" in printed
    assert (tmp_path / "a" / "simulation.md").read_text().strip() in printed
    with open(tmp_path / "a" / "regret.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 12
    assert {row["strategy"] for row in rows} == {"Random", "RegularizedEvolution population_size=5"}
    with open(tmp_path / "a" / "searches.csv") as file:
        searches = list(csv.DictReader(file))
    assert [row["seed"] for row in searches] == 2 * list("012345")
    exported = nni_count.read_architecture(tmp_path / "a" / "proposals" / "cells-Random-3.yaml")
    assert exported.provenance["table_error"] == pytest.approx(float(searches[3]["exported"]))
    assert len(list((tmp_path / "a" / "proposals").iterdir())) == 12
    assert matplotlib.image.imread(tmp_path / "a" / "regret.png").shape[0] > 300
    assert main(["simulate", "--config", str(tmp_path / "a" / "config.yaml"), "--out", str(tmp_path / "b")]) == 0
    assert (tmp_path / "a" / "regret.csv").read_text() == (tmp_path / "b" / "regret.csv").read_text()


@pytest.mark.slow
def test_any_number_of_processes_finds_the_same(table, tmp_path):
    for processes in (1, 2):
        nni_count.simulate(
            table=table, out=tmp_path / str(processes), seeds=12, trials=8, strategies="TPE", processes=processes
        )
    one, two = (tmp_path / name / "searches.csv" for name in "12")
    assert one.read_text() == two.read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--data_set cars", "data_set: 'cars' is not in the table; it has cells"),
        ("--strategies DARTS", "strategies: DARTS tries no architectures one by one"),
        ("--strategies [Nothing]", "'Nothing' is unknown; known: "),
        ("--strategies [{}]", "strategies: {} names none"),
        ("--strategies [{name:~TPE,~start:~2}]", "strategies: TPE: "),
        ("--strategies [{name:~TPE,~startup:~0}]", "startup: 0; give a number from 1"),
        ("--space small_space.SmallSpace", "table: its architecture 0 is none of SmallSpace"),
        ("--seeds 1", "seeds: 1; give a whole number from 2"),
        ("--trials 0", "trials: 0; give a whole number from 1"),
    ],
)
def test_faults_are_a_line_before_anything_is_computed(options, said, table, tmp_path, capsys):
    words = [word.replace("~", " ") for word in options.split(" ")]
    assert main(["simulate", "--table", str(table), *words, "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "out").exists()


def test_the_python_of_the_page_runs(table, tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "OURS", table)
    monkeypatch.chdir(tmp_path)
    (text,) = blocks(ROOT / "docs" / "table.md", "python")
    assert "seeds=200" in text
    made = {}
    exec(compile(text.replace("seeds=200", "seeds=2, trials=3, processes=1"), "table.md", "exec"), made)
    assert len(made["rows"]) == 2
    assert "3 trials" in (tmp_path / "runs" / "simulation" / "simulation.md").read_text()


def test_a_table_that_is_missing_or_small_is_said_in_a_line(tmp_path):
    with pytest.raises(DataError, match="cannot be read as a table"):
        nni_count.simulate(table=tmp_path / "none.npz", out=tmp_path / "out")
    table_of(tmp_path / "small.npz", made_up(3, [[1, 2]] * 3), 3)
    with pytest.raises(DataError, match="it has 3 architectures, 3 of them with two seeds; a surrogate needs 20"):
        nni_count.simulate(table=tmp_path / "small.npz", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_surrogate_that_ranks_badly_is_told(tmp_path):
    table_of(tmp_path / "t.npz", made_up(20, [[1 + place % 7, 7.5 - place % 5] for place in range(20)]), 20)
    with pytest.warns(nni_count.errors.Note, match="Spearman .* of the surrogate more than of networks"):
        nni_count.simulate(
            table=tmp_path / "t.npz", out=tmp_path / "out", seeds=2, trials=2, processes=1, strategies=[]
        )
