"""Machines that only retrain, evaluate, predict or export need no NNI: what is installed there, and what is refused."""

import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import write_shanghaitech
from PIL import Image

from nni_count.errors import SettingError

ROOT = Path(__file__).parents[1]
#: what only searches, trials and the table of trained architectures need
OF_SEARCHES = {"nni", "setuptools", "scikit-learn", "joblib", "cloudpickle"}
REFUSED = "nni-count: error: searches, trials and strategies need NNI, which a light installation leaves out"


def test_it_is_what_the_whole_one_needs_without_what_only_searches_use():
    tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    light = [line for line in (ROOT / "requirements-light.txt").read_text().splitlines() if not line.startswith("#")]
    assert light == [
        one for one in whole if one.partition("=")[0].partition(">")[0].partition("<")[0] not in OF_SEARCHES
    ]


def test_the_door_to_nni_says_what_is_missing(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingError, match="pip install nni==3"):
        runpy.run_path(str(ROOT / "nni_count" / "searching" / "nni.py"))


WITHOUT = """
import contextlib, io, sys
sys.modules["nni"] = None
from conftest import LIGHT, random_architecture
import nni_count
from nni_count.cli import main

with contextlib.redirect_stderr(io.StringIO()) as said:
    code = main("search --data synthetic --space AMSNetSpace --strategy DARTS --out out".split())
assert (code, said.getvalue().count("\\n")) == (2, 1), said.getvalue()
assert said.getvalue().startswith(sys.argv[2]), said.getvalue()
model = nni_count.retrain(data=sys.argv[1], architecture=random_architecture(0, LIGHT), out="run",
    budget=nni_count.Budget(max_steps=1), crops=nni_count.Crops(32, 2), network={"width": 16})
nni_count.evaluate(model="run/model.safetensors", data=sys.argv[1], out="evaluation")
(sample, *_) = nni_count.open_data(sys.argv[1]).samples("test")
assert nni_count.load_model("run/model.safetensors").count(sample.read()) is not None
"""


def test_a_search_says_so_before_anything_is_made_and_retraining_needs_none(shanghaitech, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(shanghaitech), REFUSED],
        cwd=there,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in there.iterdir()) == ["evaluation", "run"]


@pytest.mark.slow
def test_an_environment_of_its_own_trains_judges_counts_and_exports(tmp_path):
    """It prints the megabytes and seconds of the installation."""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "light"], check=True)
    there = tmp_path / "light" / "bin"
    install = [there / "pip", "install", "--quiet"]
    subprocess.run([*install, "-r", ROOT / "requirements-light.txt", "onnx", "onnxruntime"], check=True)
    subprocess.run([*install, "--no-deps", ROOT], check=True)
    seconds = time.monotonic() - begun
    size = sum(path.stat().st_size for path in (tmp_path / "light").rglob("*") if path.is_file())
    print(f"\n{size / 1e6:.0f} MB in {seconds:.0f} s")
    data, model = write_shanghaitech(tmp_path / "part_A_final"), "run/model.safetensors"
    Image.new("RGB", (96, 64)).save(tmp_path / "photo.jpg")
    for line in (
        f"retrain --data {data} --network mcnn --max_steps 3 --crop_size 32 --batch_size 2 --out run",
        f"evaluate --model {model} --data {data} --out judged",
        f"predict photo.jpg --model {model} --out counted",
        f"export --model {model} --to onnx --out exported",
    ):
        done = command(there, tmp_path, line)
        assert done.returncode == 0, line + done.stderr
    refused = command(there, tmp_path, f"search --data {data} --space AMSNetSpace --strategy DARTS --out found")
    assert refused.returncode == 2
    assert refused.stderr.startswith(REFUSED)
    assert not (tmp_path / "found").exists()


def command(there, folder, line):
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [there / "nni-count", *line.split()], cwd=folder, env=own, capture_output=True, text=True, timeout=300
    )
