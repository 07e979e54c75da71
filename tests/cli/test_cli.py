import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import yaml
from conftest import LIGHT, random_architecture
from nni.nas.nn.pytorch import LayerChoice
from torch import nn

from nni_count.architecture import read_architecture, write_architecture
from nni_count.cli import main
from nni_count.data import open_data
from nni_count.errors import SettingError
from nni_count.model import load_model
from search_spaces import AMSNetSpace

SEARCH = (
    "--space AMSNetSpace --space.width 16 --space.map_stride 4 --crop_size 32 --batch_size 2 --limit_train_batches 1"
)
SMALL = "--crop_size 32 --batch_size 2"


class Clashing(AMSNetSpace):
    """One label for choices that differ."""

    def __init__(self, **settings: int):
        super().__init__(**settings)
        self.first = LayerChoice([nn.Identity(), nn.ReLU()], label="same")
        self.second = LayerChoice({"a": nn.Identity(), "b": nn.ReLU()}, label="same")


def call(line):
    return main(line.split())


@pytest.mark.parametrize("strategy", ["DARTS", pytest.param("GumbelDARTS", marks=pytest.mark.slow)])
@pytest.mark.rendered
def test_from_search_to_prediction(shanghaitech, tmp_path, strategy, capsys):
    data = f"--data {shanghaitech}"
    assert call(f"search {data} {SEARCH} --strategy {strategy} --max_epochs 1 --seed 1 --out {tmp_path}/a") == 0
    assert read_architecture(tmp_path / "a" / "architecture.yaml").provenance["seed"] == 1
    assert (tmp_path / "a" / "cells.png").stat().st_size > 10_000
    assert (
        call(
            f"retrain --architecture {tmp_path}/a/architecture.yaml --network.cells 8 --network.width 32 {data} "
            f"{SMALL} --max_time 00:00:00:01 --out {tmp_path}/b"
        )
        == 0
    )
    model = f"--model {tmp_path}/b/model.safetensors"
    assert call(f"evaluate {model} {data} --split test --out {tmp_path}/c") == 0
    report = json.loads((tmp_path / "c" / "evaluation.json").read_text())
    assert {"mae", "rmse", "psnr", "ssim", "constant_mae", "parameters", "seconds_per_image"} <= set(report)
    assert f"{report['mae']:.2f}" in capsys.readouterr().out
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.full((40, 50, 3), 99, np.uint8))
    assert call(f"predict {model} {tmp_path}/photo.jpg --out {tmp_path}/d") == 0
    (row,) = json.loads((tmp_path / "d" / "counts.json").read_text())
    assert f"{row['count']:.2f}  {tmp_path}/photo.jpg" in capsys.readouterr().out


def test_space_and_strategy_may_be_given_by_their_paths(shanghaitech, tmp_path):
    paths = "--space small_space.SmallSpace --strategy nni.nas.strategy.Proxyless"
    settings = SEARCH.partition("AMSNetSpace")[2]
    assert call(f"search --data {shanghaitech} {paths} {settings} --max_epochs 1 --seed 1 --out {tmp_path}/a") == 0
    assert read_architecture(tmp_path / "a" / "architecture.yaml").provenance["seed"] == 1


def test_a_runs_configuration_reproduces_it(shanghaitech, tmp_path):
    write_architecture(random_architecture(0, LIGHT), tmp_path / "a.yaml")
    assert (
        call(
            f"retrain --architecture {tmp_path}/a.yaml --network.width 32 --task.sigma 3 --data {shanghaitech} "
            f"--data.outside drop {SMALL} --max_steps 2 --out {tmp_path}/one"
        )
        == 0
    )
    assert call(f"retrain --config {tmp_path}/one/config.yaml --out {tmp_path}/two") == 0
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    strip = lambda data: data[8 + int.from_bytes(data[:8], "little") :]  # noqa: E731 - the header holds the seconds
    assert strip(one) == strip(two)
    configuration = yaml.safe_load((tmp_path / "two" / "config.yaml").read_text())
    assert configuration["task"]["init_args"]["sigma"] == 3
    assert configuration["network"] == {"name": "amsnet", "width": 32}
    assert configuration["data"] == {"path": str(shanghaitech), "outside": "drop"}


def test_print_config_is_a_configuration(capsys):
    with pytest.raises(SystemExit) as end:
        call("retrain --data folder --out runs/x --network.cells 8 --print_config")
    assert end.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["network"] == {"cells": 8}


@pytest.mark.parametrize(
    ("loss", "weights"),
    [
        ("sal", {"sal": 1.0}),
        ("{sal: 1, scl: 0.1}", {"sal": 1.0, "scl": 0.1}),
        ('{"count": {"weight": 2}}', {"count": 2}),
    ],
)
def test_a_loss_is_a_name_or_names_with_weights(shanghaitech, tmp_path, loss, weights):
    out = tmp_path / "run"
    line = f"retrain --data {shanghaitech} --network mcnn {SMALL} --max_steps 1 --out {out} --loss"
    assert main([*line.split(), loss]) == 0
    found = load_model(out / "model.safetensors").facts["loss"]
    assert {name: settings["weight"] for name, settings in found.items()} == weights


@pytest.mark.parametrize("label", ["01", "no", "1e3", "true", "1_0", "null ", "7", "cat"])
def test_a_label_is_the_word_that_was_written(tmp_path, label, capsys):
    """Whatever it would be in YAML; on the command line, in a configuration and in that of a run."""
    lines = ["image,x,y,label"]
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"p{number}.png"), np.full((40, 50, 3), number, np.uint8))
        lines += [f"p{number}.png,5,6,{label}", f"p{number}.png,7,8,other"]
    (tmp_path / "clicks.csv").write_text("\n".join(lines))
    data = yaml.safe_dump({"data": {"path": str(tmp_path), "label": label}})
    (tmp_path / "doctor.yaml").write_text(data)
    inline = json.dumps({"path": str(tmp_path), "label": label})
    by_name = ["--data", str(tmp_path), "--data.label", label]
    for options in (by_name, ["--data", inline], ["--config", str(tmp_path / "doctor.yaml")]):
        main(["doctor", *options, "--out", str(tmp_path / "out")])
        assert f": {label.strip()} 2" in capsys.readouterr().out
        again = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
        assert again["data"]["label"] == label
        shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize("options", [["--data"], ["--data="], ["--data", ""], ["--data", "--split", "all"]])
def test_an_option_without_its_value_takes_nothing_in_its_place(options, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "--model", "m.safetensors", *options]) == 2
    assert "data: nothing is given for it; write its value behind it" in capsys.readouterr().err
    with pytest.raises(SettingError, match="data: '' is no path"):
        open_data("")


@pytest.mark.parametrize("option", ["--fold 2", "--fold=2", "--data.fold 2"])
def test_a_fold_is_a_setting_of_the_data(option, capsys):
    with pytest.raises(SystemExit):
        call(f"evaluate --data folder --model m --out runs/x {option} --print_config")
    assert yaml.safe_load(capsys.readouterr().out)["data"]["fold"] == 2


def test_resume_is_a_flag(shanghaitech, tmp_path, capsys):
    write_architecture(random_architecture(0, LIGHT), tmp_path / "a.yaml")
    line = f"retrain --architecture {tmp_path}/a.yaml --data {shanghaitech} {SMALL} --out {tmp_path}/run"
    assert call(f"{line} --max_steps 3") == 0
    assert call(f"{line} --max_steps 3") == 2
    assert "continue that run with --resume" in capsys.readouterr().err
    assert call(f"{line} --max_steps 5 --resume") == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("serach --data x", "unknown command 'serach'; known: demo, search"),
        ("retrain --data missing --out {out}", "missing: no such folder"),
        ("retrain --data {empty} --out {out}", "no known layout"),
        ("retrain --out {out}", "data"),
        ("retrain --data {data} --out {out}", "needs the cells that a search found; give --architecture FILE"),
        ("retrain --data {data} --architecture {text} --out {out}", "text.yaml: expected an architecture"),
        ("retrain --data {data} --batchsize 3 --out {out}", "--batchsize: unknown; did you mean --batch_size?"),
        (
            "search --space AMSNetSpace --strategy DARTS --crop_sise 32",
            "--crop_sise: unknown; did you mean --crop_size?",
        ),
        ("retrain --data {data} --something 3 --out {out}", "--something 3 (nni-count retrain --help lists"),
        ("retrain --data {data} --batch_size many --out {out}", "batch_size"),
        ("retrain --data {data} --network mcnn --loss sall --out {out}", "loss: 'sall' is unknown; known: mse, sppl"),
        ("retrain --data {data} --network mcnn --loss {{sal:0}} --out {out}", "loss"),
        ("retrain --config missing.yaml --out {out}", "missing.yaml"),
        ("search --data {data} --space AMSNetSpace --strategy DARTS --cost.budget 1.5M --out {out}", "give a number"),
        (
            "search --data {data} --space AMSNetSpace --strategy DARTS --cost.of Flops --out {out}",
            "flops or seconds",
        ),
        ("retrain --data {data} --augmentation.scale 0.8,1.25 --out {out}", "scale: '0.8,1.25'; give [number, number]"),
        ("predict {data} --views 2.0", "views: '2.0'; give a whole number"),
        (
            "search --data {data} --space Nothing --strategy DARTS --out {out}",
            "space: 'Nothing' is unknown; known: AMSNet",
        ),
        ("search --data {data} --space AMSNetSpace --strategy Nothing --out {out}", "strategy: 'Nothing' is unknown"),
        ("search --data {data} --space AMSNetSpace --strategy no.such.Thing --out {out}", "no.such"),
        (
            "search --data {data} --space AMSNetSpace --space.widht 16 --strategy DARTS --out {out}",
            "mean --space.width?",
        ),
        (
            "search --data {data} --space AMSNetSpace --space.width 17 --strategy DARTS --out {out}",
            "space.width: 17; give a multiple of 4",
        ),
        (
            "search --data {data} --space AMSNetSpace --strategy nni.nas.strategy.Random --devices 2 --out {out}",
            "devices: 2; a trial trains on one, give trials.concurrency instead",
        ),
        (
            "search --data {data} --space test_cli.Clashing --strategy DARTS --out {out}",
            "two choices of the space share that label but not their candidates; give one another label",
        ),
        ("evaluate --model {text} --data {data} --out {out}", "text.yaml: not a readable model"),
        ("predict missing.jpg --model {text} --out {out}", "missing.jpg: no such file or folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(shanghaitech, tmp_path, capsys, line, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.yaml").write_text("just text")
    places = {
        "data": shanghaitech,
        "empty": tmp_path / "empty",
        "text": tmp_path / "text.yaml",
        "out": tmp_path / "out",
    }
    assert call(line.format(**places)) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert error.startswith("nni-count: error: ")
    assert message in error
    assert not (tmp_path / "out").exists()


def test_another_package_in_the_place_of_ours_is_said(tmp_path, shanghaitech):
    (tmp_path / "strategies.py").write_text("")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
        "from nni_count.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    line = f"search --data {shanghaitech} --space AMSNetSpace --strategy DARTS --out {tmp_path}/out"
    result = subprocess.run([sys.executable, "-c", code, *line.split()], capture_output=True, text=True)
    assert result.returncode == 2
    assert f"found {tmp_path}/strategies.py in its place" in result.stderr.splitlines()[-1]
    assert "another package of that name" in result.stderr
