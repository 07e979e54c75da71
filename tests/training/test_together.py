"""Processes that train one network: what they learn is what one learns from all their batches."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from nni_count import Augmentation, Budget, Compute, Crops, TrainingRecipe, load_model, retrain
from nni_count.cli import main
from nni_count.errors import SettingError
from nni_count.training.together import gather, share

SCRIPT = """
import sys
sys.path[:0] = {paths!r}
from nni_count.cli import main

sys.exit(main(sys.argv[1:]))
"""
OTHERS = {
    name: os.environ[name] for name in os.environ if name not in ("LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE")
}


def command(folder, *arguments):
    script = folder / "script.py"
    script.write_text(SCRIPT.format(paths=sys.path))
    return subprocess.Popen(
        [sys.executable, str(script), *map(str, arguments)],
        env={**OTHERS, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@given(st.integers(1, 40), st.integers(1, 9))
def test_every_image_is_judged_and_every_process_judges(total, processes):
    shares = [share(total, process, processes) for process in range(processes)]
    assert all(shares)
    assert {image for some in shares for image in some} == set(range(total))
    assert sum(map(len, shares)) == max(total, processes)


def test_what_was_found_stands_in_the_order_of_the_images():
    assert gather({2: "c", 0: "a", 1: "b"}, 1) == ["a", "b", "c"]


def test_two_processes_learn_what_one_learns(tmp_path, architecture):
    """From the same crops, with batch norms that see both batches; each judges its share of the images."""
    data = {"path": "synthetic", "train": 10, "test": 1, "size": 64}
    settings = {
        "data": data,
        "network": {"name": "amsnet", "cells": 6, "width": 16},
        "recipe": TrainingRecipe(validation_fraction=0.3, shared_norms=True),
        "budget": Budget(max_steps=5),
    }
    retrain(**settings, out=tmp_path / "one", architecture=architecture, crops=Crops(32, 4, Augmentation()),
            compute=Compute("cpu", precision="64-true"))  # fmt: skip
    config = tmp_path / "one" / "config.yaml"
    arguments = ["--config", config, "--out", tmp_path / "two", "--devices", 2, "--batch_size", 2]
    process = command(tmp_path, "retrain", *arguments)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-4, atol=1e-6, msg=name)
    facts = [load_model(tmp_path / name / "model.safetensors").facts for name in ("one", "two")]
    assert [fact["validation_mae"] for fact in facts] == [pytest.approx(facts[0]["validation_mae"], rel=1e-9)] * 2
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == sorted(
        path.name for path in (tmp_path / "one").iterdir()
    )


def test_more_devices_than_there_are_are_refused_before_a_folder_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SettingError, match="devices: 3; 1 of them are here"):
        retrain(data="synthetic", out=tmp_path / "a", network="mcnn", compute=Compute("gpu", 3))
    assert (
        main(["retrain", "--data", "synthetic", "--network", "mcnn", "--devices", "3", "--out", f"{tmp_path}/a"]) == 2
    )
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "a").exists()


def wait_for_checkpoint(out):
    end = time.monotonic() + 200
    while not (out / "checkpoints" / "last.ckpt").exists() and time.monotonic() < end:
        time.sleep(0.05)


def kill(process, killed):
    """Kill the first of two processes, the second one, or both; neither runs on. What the first one has said."""
    (second,) = [child.pid for child in psutil.Process(process.pid).children()]
    for pid in {"first": [process.pid], "second": [second], "both": [process.pid, second]}[killed]:
        os.kill(pid, signal.SIGKILL)
    _, said = process.communicate(timeout=30)
    end = time.monotonic() + 30
    while psutil.pid_exists(second) and time.monotonic() < end:
        time.sleep(0.1)
    assert not psutil.pid_exists(second)
    return said


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["first", "second", "both"])
def test_a_killed_process_ends_the_other_and_the_run_goes_on_as_if_nothing_had_been(tmp_path, killed):
    arguments = ["retrain", "--data", "synthetic", "--data.train", 12, "--data.size", 64, "--network", "mcnn",
                 "--devices", 2, "--accelerator", "cpu", "--max_steps", 60, "--crop_size", 32,
                 "--batch_size", 2]  # fmt: skip
    whole = command(tmp_path, *arguments, "--out", tmp_path / "whole")
    assert whole.wait(200) == 0
    out = tmp_path / "killed"
    process = command(tmp_path, *arguments, "--out", out)
    wait_for_checkpoint(out)
    said = kill(process, killed)
    assert process.returncode == (2 if killed == "second" else -signal.SIGKILL)
    if killed == "second":
        assert "one of the processes that train together has ended; continue with --resume" in said
    resumed = command(tmp_path, *arguments, "--out", out, "--resume")
    assert resumed.wait(200) == 0, resumed.stderr.read()
    one, other = (load_file(folder / "model.safetensors") for folder in (tmp_path / "whole", out))
    assert all(torch.equal(one[name], other[name]) for name in one)
