"""The guide to tasks: its code is a package that is installed, and its commands are run, with less of everything."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nni_count.cli import main
from nni_count.errors import ModelError
from nni_count.model import load_model

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"
LESS = {
    "--max_epochs 4 --limit_train_batches 15 --crop_size 96": "--max_epochs 1 --limit_train_batches 1 --crop_size 32",
    "--space.map_stride 4": "--space.map_stride 4 --space.width 16",
    "--crop_size 128": "--crop_size 32",
    "--max_steps 500": "--max_steps 1",
    "--data synthetic": "--data synthetic --data.train 8 --data.test 2 --data.size 64",
}


def block(language):
    (text,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.S)
    return text


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The page's package, installed into a folder of its own."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    (source / "near.py").write_text(block("python"))
    (source / "pyproject.toml").write_text(block("toml"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(source)], check=True)
    return site


def commands():
    lines = block("sh").splitlines()
    for much, less in LESS.items():
        assert any(much in line for line in lines)
        lines = [line.replace(much, less) for line in lines]
    return [line.split()[1:] for line in lines]


def test_the_guide_is_a_package_that_brings_a_task(installed, tmp_path, monkeypatch, capsys):
    assert len(block("python").splitlines()) < 60
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(installed))
        search, retrain, evaluate = commands()
        retrain[retrain.index("near.Nearest")] = "Nearest"  # the name of the entry point
        for command in (search, retrain, evaluate):
            assert main(command) == 0, capsys.readouterr().err
        report = json.loads(Path("runs/near/test/evaluation.json").read_text())
        assert report["main_metric"] == "error"
        assert {"error", "error_near", "within_3"} <= set(report)
        assert not {"mae", "people", "psnr"} & set(report)
        assert report["task"] == {"class_path": "near.Nearest", "init_args": {"limit": 40.0}}

        model, photo = "runs/near/retrain/model.safetensors", PAGE.parent / "demo.jpg"
        assert main(["predict", str(photo), "--model", model, "--out", "runs/near/predict"]) == 0
        (row,) = json.loads(Path("runs/near/predict/distances.json").read_text())
        assert row["nearest"] == pytest.approx(load_model(model).nearest(photo), abs=0.01)

    del sys.modules["near"]  # without the package, its model says what is missing
    assert main([*evaluate[:-1], "runs/near/again"]) == 2
    assert re.search("task_class.*near", capsys.readouterr().err)
    with pytest.raises(ModelError, match=r"task near.Nearest: neither of an installed package nor imported"):
        load_model(model)
