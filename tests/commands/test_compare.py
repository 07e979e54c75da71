import csv
import json
import os
import re
import sqlite3

import numpy as np
import pytest
from conftest import LIGHT, random_architecture

from nni_count.architecture import write_architecture
from nni_count.cli import main
from nni_count.commands.compare import compare
from nni_count.comparing import experiments
from nni_count.errors import RunError

FIGURES = {"rmse": 20.0, "parameters": 9000, "flops": 2e9, "search_seconds": 60.0, "memory_mb": 900}


def write_run(folder, strategy, seed, mae, cells=False, **changes):
    """What ``nni-count trial`` leaves."""
    facts = {
        "strategy": strategy,
        "seed": seed,
        "main_metric": "mae",
        "larger_is_better": False,
        "mae": mae,
        **FIGURES,
        "data": "ShanghaiTech part_A_final",
        "images": 60,
        "retraining": {"steps": 400, "seconds": 90.0, "training_images": 216},
        "network": {"cells": 6, "width": 64, "map_stride": 4},
        **changes,
    }
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(facts))
    if cells:
        write_architecture(random_architecture(seed, LIGHT), folder / "search" / "architecture.yaml")
    return folder


def runs_of(folder, **maes):
    return [
        write_run(folder / f"{strategy}{seed}", strategy, seed, mae)
        for strategy, values in maes.items()
        for seed, mae in enumerate(values)
    ]


@pytest.mark.rendered
def test_a_table_of_means_deviations_and_bests_the_best_first(tmp_path):
    runs = runs_of(tmp_path, GDAS=[12.0, 14.0, 16.0], DARTS=[10.0, 11.0, 12.0])
    runs.append(write_run(tmp_path / "random0", "random", 0, 30.0, cells=True, evaluations=5))
    text = compare(runs, out=tmp_path / "out")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert lines[1].startswith("| DARTS | 3 | 11.0 ± 1.0 | 10.0 | 20.0 ± 0.0 | 9,000 | 2.00 G | 60 s | 900 MB |")
    assert lines[2].startswith("| GDAS | 3 | 14.0 ± 2.0 | 12.0 |")
    assert lines[3].startswith("| random | 1 | 30.0 | 30.0 |")
    assert "random: 5.0 architectures a run" in text
    assert "NOT the same for all: seeds" in text
    with open(tmp_path / "out" / "comparison.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["strategy"] for row in rows] == ["DARTS", "GDAS", "random"]
    assert float(rows[1]["mae_std"]) == 2.0
    with open(tmp_path / "out" / "runs.csv") as file:
        assert len(list(csv.DictReader(file))) == 7
    assert (tmp_path / "out" / "compare.png").stat().st_size > 10_000
    assert (tmp_path / "out" / "cells.png").stat().st_size > 10_000
    assert (tmp_path / "out" / "comparison.md").read_text() == text


def write_other_task(folder, strategy, seed, close):
    run = write_run(folder / f"{strategy}{seed}", strategy, seed, 0.0, main_metric="close", larger_is_better=True)
    facts = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(
        json.dumps({**{n: v for n, v in facts.items() if n not in ("mae", "rmse")}, "close": close})
    )
    return run


def test_trials_of_another_task_are_ranked_by_its_own_metric(tmp_path, capsys):
    closes = {"A": (0.50, 0.52, 0.54), "B": (0.90, 0.91, 0.92)}
    runs = [
        write_other_task(tmp_path, name, seed, close) for name, of in closes.items() for seed, close in enumerate(of)
    ]
    text = compare(runs, out=tmp_path / "out")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert lines[0] == "| strategy | runs | CLOSE | best | parameters | FLOPs | search | memory |"
    assert lines[1].startswith("| B | 3 | 0.91 ± 0.01 | 0.92 | 9,000 |")
    assert lines[2].startswith("| A | 3 | 0.52 ± 0.02 | 0.54 |")
    assert "Different: B and A" in text
    assert "of the means of CLOSE" in text
    with open(tmp_path / "out" / "comparison.csv") as file:
        assert [row["close_best"] for row in csv.DictReader(file)] == ["0.92", "0.54"]
    runs.append(write_run(tmp_path / "C0", "C", 0, 12.0))
    assert main(["compare", *map(str, runs), "--out", str(tmp_path / "none")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "judged by different metrics: close (" in error
    assert "mae and rmse (" in error
    assert not (tmp_path / "none").exists()


def test_strategies_are_told_apart_only_where_the_seeds_allow_it(tmp_path):
    text = compare(
        runs_of(tmp_path, A=[10.0, 11.0, 12.0], B=[10.5, 11.5, 12.5], C=[40.0, 41.0, 42.0]), out=tmp_path / "o"
    )
    apart, same = text.partition("Different: ")[2].split("Cannot be told apart with so many seeds: ")
    assert "A and C (p = " in apart
    assert "B and C (p = " in apart
    assert same.startswith("A and B (p = ")
    assert "Tukey's HSD test" in same
    two = compare(runs_of(tmp_path / "t", A=[10.0, 20.0], B=[15.0, 40.0]), out=tmp_path / "o2")
    assert "Different" not in two


def test_strategies_stand_beside_random_search_seed_by_seed(tmp_path):
    noise = np.array([30.0, -20, 10, 0, 25, -5, 15, -10])
    maes = {"random": 100 + noise, "Better": 90 + noise + np.arange(8) / 10, "Same": 100 + noise * 0.9}
    text = compare(runs_of(tmp_path, **maes), out=tmp_path / "out")
    assert "Different" not in text  # unpaired, the seeds' own spread hides it
    found = re.search(r"Beside random, on the same 8 seeds: (.+?); p after Holm", text)[1]
    assert re.match(r"Better -9\.65 \(-9\.\d+ to -9\.\d+, p = 0\.0\d+\), Same \S+ \(.+, p = 0\.[2-9]", found)
    assert "Beside random" not in compare(runs_of(tmp_path / "x", A=[1.0, 2], B=[1.0, 2]), out=tmp_path / "without")


def test_what_chance_in_a_training_hides_is_said(tmp_path):
    def compared(name, trainings):
        runs = [
            write_run(tmp_path / f"{name}{seed}", "A", seed, float(np.mean(values)), trainings=values)
            for seed, values in enumerate(trainings)
        ]
        return compare(runs, out=tmp_path / name)

    clear = compared("clear", [[9, 10, 11], [13, 14, 15]])  # 1/3 of chance in a variance of 8
    assert "trainings of one architecture deviate by 1; of the variance between the runs' figures, 96%" in clear
    assert "figures, 0% is more than that chance" in compared("hidden", [[1, 20], [2, 21], [1.5, 20]])
    assert "is not known (nni-count trial --retrainings 2)" in compared("once", [[10], [20]])


def test_a_verification_stands_beside_the_search_and_must_be_the_same(tmp_path):
    told = {"verification": {"candidates": 8, "seconds": 239.6, "chosen": 3}}
    runs = [write_run(tmp_path / f"A{seed}", "A", seed, 10.0 + seed, **told) for seed in range(2)]
    text = compare(runs, out=tmp_path / "same")
    assert "| 60 s + 240 s verified |" in text
    assert "NOT the same" not in text
    runs += runs_of(tmp_path, random=[10.0, 12.0])
    assert "NOT the same for all: candidates verified." in compare(runs, out=tmp_path / "out")


def test_one_run_says_nothing_and_equal_runs_are_not_different(tmp_path):
    text = compare(runs_of(tmp_path, A=[10.0], B=[50.0]), out=tmp_path / "out")
    assert "One run alone says nothing about a strategy: A, B." in text
    assert "p =" not in text
    text = compare(runs_of(tmp_path / "e", A=[10.0, 10.0], B=[10.0, 10.0]), out=tmp_path / "out2")
    assert "Cannot be told apart" in text


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"retraining": {"steps": 800, "seconds": 1.0, "training_images": 216}}, "for steps"),
        ({"data": "ShanghaiTech part_B"}, "data"),
        ({"network": {"cells": 8, "width": 64, "map_stride": 4}}, "space"),
        ({"network": {"cells": 6, "width": 64, "map_stride": 4, "stem_stride": 2}}, "space"),
    ],
)
def test_budgets_that_differ_are_said(tmp_path, changes, named):
    runs = runs_of(tmp_path, A=[10.0, 11.0])
    assert "NOT the same" not in compare(runs, out=tmp_path / "same")
    runs += [write_run(tmp_path / f"B{seed}", "B", seed, 9.0, **changes) for seed in range(2)]
    assert f"NOT the same for all: {named}." in compare(runs, out=tmp_path / "out")


def experiment(folder, trials):
    """NNI's data base: trials are (id, status, parameters, MAE or None)."""
    (folder / "db").mkdir(parents=True)
    with sqlite3.connect(folder / "db" / "nni.sqlite") as base:
        base.execute(
            "create table TrialJobEvent (timestamp integer, trialJobId text, event text, data text, logPath text, "
            "sequenceId integer, message text, environmentId text)"
        )
        base.execute(
            "create table MetricData (timestamp integer, trialJobId text, parameterId text, type text, "
            "sequence integer, data text)"
        )
        for number, (id, status, parameters, mae) in enumerate(trials):
            packed, path = json.dumps({"parameters": parameters}), str(folder / "trials" / id)
            for event, data in (("RUNNING", packed), (status, None)):
                base.execute(
                    "insert into TrialJobEvent values (0, ?, ?, ?, ?, ?, null, 'local')",
                    (id, event, data, path, number),
                )
            if mae is not None:
                final = json.dumps(json.dumps({"default": mae, **FIGURES}))
                base.execute("insert into MetricData values (0, ?, ?, 'FINAL', 0, ?)", (id, str(number), final))
    base.close()
    return folder


def test_an_experiment_is_read_from_its_data_base_finished_or_not(tmp_path, monkeypatch):
    folder = experiment(
        tmp_path / "experiments" / "abc12345",
        [
            ("aaaaa", "SUCCEEDED", {"strategy": "DARTS", "seed": 0}, 10.0),
            ("bbbbb", "SUCCEEDED", {"strategy": "nni.nas.strategy.Random", "seed": 0}, 14.0),
            ("ccccc", "FAILED", {"strategy": "DATRS", "seed": 1}, None),
            ("ddddd", "RUNNING", {"strategy": "GDAS", "seed": 0}, None),
        ],
    )
    (folder / "trials" / "ccccc").mkdir(parents=True)
    (folder / "trials" / "ccccc" / "trial.stderr").write_text("…\nnni-count: error: strategy: 'DATRS' is unknown\n")
    text = compare([folder], out=tmp_path / "out")
    assert "| DARTS | 1 | 10.0 |" in text
    assert "| random | 1 | 14.0 |" in text
    assert "Budgets: not known" in text
    assert "2 of 4 trials; left out: 1 FAILED (nni-count: error: strategy: 'DATRS' is unknown), 1 RUNNING." in text
    monkeypatch.setattr(experiments, "HOME", tmp_path)
    (tmp_path / ".experiment").write_text(json.dumps({"abc12345": {"logDir": str(tmp_path / "experiments")}}))
    assert compare(["abc12345"], out=tmp_path / "by id").splitlines()[:4] == text.splitlines()[:4]


def test_a_run_that_nni_lost_is_found_in_its_folder_and_counts_once(tmp_path):
    folder = experiment(tmp_path / "abc", [("aaaaa", "FAILED", {"strategy": "DARTS", "seed": 0}, None)])
    run = write_run(folder / "trials" / "aaaaa" / "run", "DARTS", 0, 10.0, cells=True)
    text = compare([folder, run], out=tmp_path / "out")
    assert "| DARTS | 1 | 10.0 |" in text
    assert (tmp_path / "out" / "cells.png").is_file()


def test_an_exported_experiment_is_read(tmp_path):
    rows = [
        {
            "parameter": {"strategy": "GDAS", "seed": seed},
            "value": json.dumps({"default": 10.0 + seed, **FIGURES}),
            "trialJobId": str(seed),
        }
        for seed in range(2)
    ]
    (tmp_path / "export.json").write_text(json.dumps(rows))
    assert "| GDAS | 2 | 10.5 ± 0.7 |" in compare([tmp_path / "export.json"], out=tmp_path / "out")


def test_what_cannot_be_compared_is_said_and_leaves_no_folder(tmp_path, capsys):
    nothing = experiment(tmp_path / "abc", [("aaaaa", "RUNNING", {"strategy": "DARTS"}, None)])
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "result.json").write_text("{}")
    (tmp_path / "torn" / "db").mkdir(parents=True)
    (tmp_path / "torn" / "db" / "nni.sqlite").write_bytes(b"no data base" * 99)
    row = {"parameter": {"strategy": "GDAS"}, "value": json.dumps({"default": 0.9}), "trialJobId": "a"}
    (tmp_path / "export.json").write_text(json.dumps([row]))
    for source, message in [
        (nothing, "none of its 1 trials has finished (1 RUNNING)"),
        (tmp_path / "photo.jpg", "not an exported experiment"),
        (tmp_path / "broken", "no result of nni-count trial"),
        (tmp_path / "torn", "no readable data base"),
        ("zzzzz", "nnictl experiment list"),
        (tmp_path / "export.json", "NNI does not know by which metric its task is judged; compare run folders"),
    ]:
        assert main(["compare", str(source), "--out", str(tmp_path / "out")]) == 2
        assert message in capsys.readouterr().err
        with pytest.raises(RunError):
            compare([source], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def report(**changes):
    return {
        "mae": 100.2,
        "rmse": 157.9,
        "psnr": 21.98,
        "ssim": 0.532,
        "parameters": 133_705,
        "data": "ShanghaiTech part_A_final",
        "split": "test",
        "map_protocol": "truth-peak: …",
        "network": {"name": "mcnn", "settings": {}},
        "model": {"seconds": 600.0, "steps": 900, "validation_images": 30, "training_images": 270},
        **changes,
    }


def test_evaluations_stand_beside_what_was_published(tmp_path):
    for name, changes in (("a", {}), ("b", {"data": "Mall mall"})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "evaluation.json").write_text(json.dumps(report(**changes)))
    text = compare([tmp_path / "a", tmp_path / "b"], out=tmp_path / "out")
    assert "100.2 (110.2) | 157.9 (173.2) | 22.0 (21.4) | 0.532 (0.52) | 133,705 (0.13M)" in text
    assert "beside MCNN" in text
    assert "budget: trained 10.0 min, 900 steps; published: length not stated" in text
    assert "nothing is published of this network on these data" in text
    assert np.all([(tmp_path / "out" / name).exists() for name in ("comparison.md", "config.yaml")])


def test_evaluations_that_are_not_alike_say_so(tmp_path):
    for name, changes in (("a", {"views": 1, "trained_on": 9}), ("b", {"views": 8, "trained_on": 0})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "evaluation.json").write_text(json.dumps(report(**changes)))
    with pytest.warns(UserWarning, match="evaluations differ") as warned:
        text = compare([tmp_path / "a", tmp_path / "b"], out=tmp_path / "out")
    said = "\n".join(str(warning.message) for warning in warned)
    for words in (r"a: 9 of its \S+ images were trained on", r"evaluations differ in views: \S+a 1, \S+b 8"):
        assert re.search(words, said)
        assert re.search(words, text)


def test_foreign_results_are_a_line_each_and_the_others_are_compared(tmp_path):
    good = write_run(tmp_path / "good", "DARTS", 0, 12.0)
    facts = json.loads((good / "result.json").read_text())
    contents = ["", "[]", "3", "null", "{", "[" * 100_000, "{}", '{"a":' * 5000, json.dumps({**facts, "rmse": {}})]
    for name in facts:
        if name not in ("larger_is_better", "rmse"):
            contents.append(json.dumps({key: value for key, value in facts.items() if key != name}))
    for name, values in {
        "main_metric": (3, [], "none"),
        "mae": (None, "x", [1], float("nan"), float("inf"), 10**400),
        "images": ([1], {}),
        "retraining": (None, [], {"steps": []}),
        "network": (None, [], 3),
        "evaluations": ("x", {}),
        "data": ([1],),
        "seed": ([1], {}),
        "trainings": (3, "x", [None], [[1]], [float("nan")]),
        "verification": (3, [1], "x", {"a": 1}, {"candidates": 1, "seconds": "x"}, {"seconds": 1}),
    }.items():
        contents += [json.dumps({**facts, name: value}) for value in values]
    runs = []
    for number, content in enumerate(contents):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "result.json").write_text(content)
        runs.append(tmp_path / f"{number}")
    for number, content in enumerate(("[]", "{}", '{"data": 1}', '{"parameters": "x", "data": "x", "split": "y"}')):
        (tmp_path / f"e{number}").mkdir()
        (tmp_path / f"e{number}" / "evaluation.json").write_text(content)
        runs.append(tmp_path / f"e{number}")
    os.mkfifo(tmp_path / "0" / "evaluation.json")
    (good / "search").mkdir()
    (good / "search" / "architecture.yaml").write_text("d: 2001-01-01")
    with pytest.warns(UserWarning, match="left out") as warned:
        text = compare([*runs, good], out=tmp_path / "out")
    said = [str(warning.message) for warning in warned if "left out" in str(warning.message)]
    assert len(said) == len(runs)
    for run, line in zip(runs, said, strict=True):
        assert str(run) in line
        assert len(line) <= 500
    assert text.count("Left out: ") == len(runs)
    assert "| DARTS | 1 | 12.0 |" in text
    with pytest.raises(RunError, match="leave it out"):
        compare(runs, out=tmp_path / "none")
    assert not (tmp_path / "none").exists()
