import functools
import json
import shutil
import signal

import numpy as np
import pytest
import yaml
from short import short
from small_space import SmallSpace
from test_search import DisturbedSpace, Noise, disturb

import nni_count.commands.trial as trials
from nni_count.architecture import read_architecture
from nni_count.cli import main
from nni_count.commands.retrain import retrain
from nni_count.commands.search import search
from nni_count.data import open_data
from nni_count.data.held_out import HeldOut
from nni_count.errors import DataError, Interrupted, RunError, SettingError
from nni_count.searching.portal import from_nni
from nni_count.searching.random_search import RandomBudget, draw, random_search
from search_spaces import AMSNetSpace
from strategies import DARTS

pytestmark = pytest.mark.filterwarnings("ignore")

trial = short(trials.trial, search)
RETRAINING = {"max_steps": 2, "crop_size": 32, "batch_size": 1}


class Portal(list):
    """What NNI was told, in its order."""

    def attach(self, monkeypatch):
        for kind in ("intermediate", "final"):
            monkeypatch.setattr(
                trials.nni, f"report_{kind}_result", lambda figures, kind=kind: self.append((kind, figures))
            )
        return self


@pytest.fixture
def portal(monkeypatch):
    return Portal().attach(monkeypatch)


def run(out, strategy=None, space=SmallSpace, **settings):
    defaults = {"max_epochs": 2, "crop_size": 32, "batch_size": 1, "limit_train_batches": 1, "accelerator": "cpu"}
    return trial(
        data=Noise(),
        space=space(width=16, map_stride=4),
        strategy=strategy or DARTS(),
        out=out,
        seed=3,
        **{**defaults, "retrain": RETRAINING, **settings},
    )


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The result and the folder of a trial."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    with pytest.MonkeyPatch.context() as patch:
        Portal().attach(patch)
        return run(folder), folder


def test_a_trial_reports_every_epoch_and_the_figures_on_held_out_images(portal, tmp_path):
    result = run(tmp_path / "run", retrainings=2)
    *epochs, (kind, final) = portal
    assert [name for name, _ in epochs] == ["intermediate"] * 2
    assert [figures["epoch"] for _, figures in epochs] == [1, 2]
    assert all({"default", "loss", "alpha_entropy"} <= set(figures) for _, figures in epochs)
    assert kind == "final"
    assert final["default"] == result["mae"]
    assert set(final) == {"default", "rmse", "parameters", "flops", "search_seconds", "memory_mb"}
    reports = [
        json.loads((tmp_path / "run" / name / "evaluation.json").read_text()) for name in ("evaluation", "evaluation_1")
    ]
    assert {(report["split"], report["images"]) for report in reports} == {("validation", 1)}
    assert result["trainings"] == [report["mae"] for report in reports]
    assert len(set(result["trainings"])) == 2
    assert result["mae"] == pytest.approx(np.mean(result["trainings"]))
    assert result["retraining"]["steps"] == 2
    assert (result["strategy"], result["seed"], result["overhead_seconds"] > 0) == ("DARTS", 3, True)
    assert (tmp_path / "run" / "search" / "cells.png").is_file()


def test_the_held_out_part_is_in_no_training_and_the_same_for_all_seeds():
    parts = {name: HeldOut(Noise(), 0.4).samples(name) for name in ("train", "validation")}
    names = {name: [sample.name for sample in samples] for name, samples in parts.items()}
    assert sorted(names["train"] + names["validation"]) == list("012345")
    assert len(names["validation"]) == 2
    assert [sample.name for sample in HeldOut(Noise(), 0.4).samples("validation")] == names["validation"]
    judged = HeldOut(Noise(), 0.4).training_parts(0.25, seed=1)  # by which the retraining chooses its weights
    assert sorted(sample.name for part in judged for sample in part) == names["train"]
    with pytest.raises(SettingError, match="no split 'test'"):
        HeldOut(Noise(), 0.4).samples("test")


@pytest.mark.parametrize(("when", "stage"), [(4, "search"), (9, "retrain")])
def test_an_interrupted_trial_goes_on_to_the_same_result(portal, straight, tmp_path, when, stage, monkeypatch):
    expected, _ = straight
    if stage == "search":
        disturb(when, presses=1)
    else:
        disturb(0, presses=0)
        steps = iter([False, True])
        plain = trials.train_network

        @functools.wraps(plain)
        def interrupted(**settings):
            if next(steps):
                return plain(**settings)
            raise Interrupted("retrain")

        monkeypatch.setattr(trials, "train_network", interrupted)
    with pytest.raises(Interrupted, match=r"nni-count trial --config .*/run/config.yaml --resume goes on"):
        run(tmp_path / "run", space=DisturbedSpace)
    assert not (tmp_path / "run" / "result.json").exists()
    found = run(tmp_path / "run", space=DisturbedSpace, resume=True)
    changing = ("search_seconds", "memory_mb", "overhead_seconds", "retraining")
    assert all(found[name] == expected[name] for name in expected if name not in changing)


def test_a_damaged_state_of_a_part_is_told_and_the_remedy_works(portal, straight, tmp_path):
    result, folder = straight
    shutil.copytree(folder, tmp_path / "run")
    state = tmp_path / "run" / "search.json"
    state.write_text(state.read_text().replace("memory_mb", "memory_MB"))
    with pytest.raises(RunError, match=r"search\.json: is damaged .*; remove it, and --resume does that part again"):
        run(tmp_path / "run", resume=True)
    state.unlink()
    assert run(tmp_path / "run", resume=True)["mae"] == result["mae"]


def test_random_search_keeps_the_best_of_what_it_drew(portal, tmp_path):
    result = run(tmp_path / "run", trials.Random(), random=RandomBudget(evaluations=2, steps=1))
    assert (result["strategy"], result["evaluations"]) == ("random", 2)
    maes = [figures["metric"] for kind, figures in portal if kind == "intermediate"]
    assert [figures["default"] for kind, figures in portal if kind == "intermediate"] == [maes[0], min(maes)]
    best = tmp_path / "run" / "search" / f"{int(np.argmin(maes)):03}"
    kept = read_architecture(tmp_path / "run" / "search" / "architecture.yaml")
    generator = np.random.RandomState(3)
    drawn = [draw(SmallSpace(width=16, map_stride=4), generator) for _ in range(2)]
    assert drawn[0].extraction != drawn[1].extraction
    assert kept.extraction == drawn[int(np.argmin(maes))].extraction
    assert best.is_dir()


def test_a_resumed_random_search_trains_nothing_twice(tmp_path):
    def train(architecture, folder):
        return short(retrain)(data=Noise(), architecture=architecture, out=folder, **{**RETRAINING, "max_steps": 1})

    settings = {"space": AMSNetSpace(width=16, map_stride=4), "out": tmp_path / "run", "seed": 1, "settings": {}}
    random_search(train=train, budget=RandomBudget(evaluations=1), **settings)
    first = (tmp_path / "run" / "000" / "model.safetensors").stat().st_mtime_ns
    seen = []
    random_search(train=train, budget=RandomBudget(evaluations=2), resume=True, after=seen.append, **settings)
    assert (tmp_path / "run" / "000" / "model.safetensors").stat().st_mtime_ns == first
    assert len(seen) == 2
    assert seen[1]["best"] == min(row["metric"] for row in seen)
    assert random_search(
        train=train, budget=RandomBudget(seconds=0.0), resume=True, **settings
    )  # at least one, and it is there


def test_settings_that_cannot_work_are_named_before_a_folder_is_made(tmp_path):
    with pytest.raises(SettingError, match=r"retrain: .*max_stps"):
        run(tmp_path / "run", retrain={"max_stps": 3})
    with pytest.raises(SettingError, match=r"retrain: .*batch_size"):
        run(tmp_path / "run", retrain={"batch_size": "many"})
    with pytest.raises(SettingError, match="nothing to choose by"):
        run(
            tmp_path / "run",
            trials.Random(),
            random=RandomBudget(evaluations=1),
            retrain={"validation_fraction": 0},
        )
    with pytest.raises(SettingError, match="random: give a time"):
        run(tmp_path / "run", trials.Random())
    assert not (tmp_path / "run").exists()


@pytest.fixture
def within_nni(monkeypatch, tmp_path):
    """This process as a trial; gives a function that sets NNI's parameters."""
    monkeypatch.setenv("NNI_TRIAL_JOB_ID", "abcde")
    monkeypatch.setenv("NNI_OUTPUT_DIR", str(tmp_path / "trial"))
    return lambda parameters: monkeypatch.setattr(trials.nni, "get_next_parameter", lambda: parameters)


def test_parameters_become_options_owners_first(within_nni, tmp_path):
    within_nni({"strategy.k": 4, "strategy": "PartialChannel", "learning_rate": 1e-05, "space.taps": [4, 5, 6]})
    out = tmp_path / "trial" / "run"
    expected = ["--strategy=PartialChannel", "--learning_rate=1e-05", "--strategy.k=4", "--space.taps=[4, 5, 6]"]
    assert sorted(from_nni()) == sorted([*expected, f"--out={out}"])
    assert from_nni().index(expected[0]) < from_nni().index(expected[2])
    out.mkdir(parents=True)
    (out / "config.yaml").touch()
    assert from_nni()[-1] == "--resume"


def test_a_trial_takes_nnis_parameters_over_the_base_configuration(within_nni, portal, tmp_path, capsys):
    base = {
        "data": {"path": "synthetic", "train": 8, "size": 64},
        "space": {"class_path": "small_space.SmallSpace", "init_args": {"width": 32, "map_stride": 4}},
        "strategy": {"class_path": "strategies.DARTS", "init_args": {"arc_learning_rate": 0.1}},
        "max_epochs": 1,
        "limit_train_batches": 1,
        "crop_size": 32,
        "batch_size": 1,
        "accelerator": "cpu",
        "retrain": RETRAINING,
    }
    (tmp_path / "base.yml").write_text(yaml.safe_dump(base))
    within_nni({"strategy": "GDAS", "space.width": 16, "seed": 5, "retrain.max_steps": 1, "learning_rate": 0.002})
    assert main(["trial", "--config", str(tmp_path / "base.yml")]) == 0
    out = tmp_path / "trial" / "run"
    result = json.loads((out / "result.json").read_text())
    assert (result["strategy"], result["seed"]) == ("GDAS", 5)
    assert (result["network"]["width"], result["retraining"]["steps"]) == (16, 1)
    configuration = yaml.safe_load((out / "config.yaml").read_text())
    assert configuration["recipe"]["learning_rate"] == 0.002
    assert configuration["strategy"]["init_args"]["arc_learning_rate"] == 0.1
    assert "validation MAE" in capsys.readouterr().out
    assert main(["trial", "--config", str(tmp_path / "base.yml")]) == 0  # NNI starts it again: nothing is left to do
    assert portal[-1] == portal[-2] or portal[-1][0] == "final"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"spase.width": 3}, "spase.width"),
        ({"space.breadth": 3}, "breadth"),
        ({"strategy": "DATRS"}, "strategy: 'DATRS' is unknown; known: "),
        ({"data": "/mnt/elsewhere"}, "/mnt/elsewhere: no such folder"),
        ({"data": "/mnt/elsewhere"}, "which needs the data too"),
        ({"seed": "x"}, "seed"),
    ],
)
def test_a_parameter_that_fits_nothing_fails_the_trial_with_its_reason(within_nni, parameters, message, capsys):
    within_nni(parameters)
    base = ["--data", "synthetic", "--space", "AMSNetSpace", "--strategy", "DARTS"]
    assert main(["trial", *base]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert message in line


def test_a_missing_folder_is_plainly_missing_outside_of_nni():
    with pytest.raises(DataError) as error:
        trials._open("/mnt/elsewhere")
    assert "trial" not in str(error.value)
    assert trials._open(open_data("synthetic")).name == "synthetic crowds"


def test_a_manager_that_is_gone_costs_no_figures(monkeypatch, tmp_path, within_nni):
    def gone(*_):
        raise ConnectionRefusedError

    for kind in ("intermediate", "final"):
        monkeypatch.setattr(trials.nni, f"report_{kind}_result", gone)
    with pytest.warns(UserWarning, match="manager does not answer"):
        run(tmp_path / "run")
    assert (tmp_path / "run" / "result.json").is_file()
    monkeypatch.setattr(trials.nni, "get_next_parameter", gone)
    with pytest.raises(RunError, match="nnictl resume"):
        from_nni()


def test_signals_are_as_before_after_a_trial(portal, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    run(tmp_path / "run", max_epochs=1)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
