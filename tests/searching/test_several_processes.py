"""A one-shot search by two processes on the CPU: one architecture, each file once."""

import csv
import os
import subprocess
import sys

import pytest
import torch

from nni_count.architecture import read_architecture

SCRIPT = """
import os
import sys

import torch
from small_space import SmallSpace

import strategies
from nni_count.commands.search import search
from nni_count.searching import job, validation
from nni_count.searching.settings import Decoding, SearchBudget
from nni_count.training.compute import Compute
from nni_count.training.settings import Crops

name, settings, folder = sys.argv[1], eval(sys.argv[2]), sys.argv[3]
halves, kept, judged, figures = [], {}, [], []


class Kept(getattr(strategies, name)):
    def configure_oneshot_module(self, training_module):
        kept["module"] = super().configure_oneshot_module(training_module)
        return kept["module"]


class Seen(SmallSpace):
    images = []

    def forward(self, image):
        if torch.is_grad_enabled():
            self.images.append(image.sum().item())
        return super().forward(image)


def recorded(samples, seed, original=job.halves):
    parts = original(samples, seed)
    halves.extend([sample.name for sample in part] for part in parts)
    return parts


def judged_too(network, task, sample, image, original=validation.judge_image):
    judged.append(sample.name)
    return original(network, task, sample, image)


def figure_of_one(self, space, architecture, process, processes, original=validation.Validation.figure):
    figures.append(original(self, space, architecture, process, processes))
    names = list(judged)
    figures.append(original(self, space, architecture))
    judged[:] = names
    return figures[-2]


job.halves = recorded
validation.judge_image, validation.Validation.figure = judged_too, figure_of_one
search(
    data={"path": "synthetic", "train": 8, "test": 1, "size": 48},
    space=Seen(width=64 if name == "PartialChannel" else 16, map_stride=4), strategy=Kept(**settings),
    out=f"{folder}/run", budget=SearchBudget(max_epochs=2, limit_train_batches=2), crops=Crops(32, 1),
    compute=Compute("cpu", 2), decoding=Decoding(validation_images=3),
)
state = {key: value for key, value in kept["module"].state_dict().items() if "running" not in key}
found = {"state": state, "images": Seen.images, "halves": halves, "judged": judged, "figures": figures}
torch.save(found, f"{folder}/{os.environ.get('LOCAL_RANK', 0)}.pt")
"""


def search(folder, strategy, settings):
    script = folder / "script.py"
    script.write_text(SCRIPT)
    environment = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "WORLD_SIZE")}
    done = subprocess.run(
        [sys.executable, str(script), strategy, repr(settings), str(folder)],
        capture_output=True,
        text=True,
        env={**environment, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_alpha_and_weights_stay_equal_and_files_are_written_once(tmp_path):
    check(tmp_path, "GDAS", {"warmup_epochs": 1})


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["DARTS", "GumbelDARTS", "GDAS", "PartialChannel", "ENAS", "RandomOneShot"])
def test_with_every_strategy(tmp_path, strategy):
    check(tmp_path, strategy, {})


def check(folder, strategy, settings):
    first, second = search(folder, strategy, settings)
    assert first["state"].keys() == second["state"].keys()
    for name, value in first["state"].items():
        if name != "baseline":
            assert torch.equal(value, second["state"][name]), name
    assert first["halves"] == second["halves"]
    assert not set(first["images"]) & set(second["images"])
    assert sorted(map(len, (set(first["judged"]), set(second["judged"])))) == [1, 2]
    assert not set(first["judged"]) & set(second["judged"])
    together, alone = first["figures"][::2], first["figures"][1::2]
    assert together == second["figures"][::2] == alone  # to the last digit
    assert read_architecture(folder / "run" / "architecture.yaml").provenance["epochs"] == 2
    assert len(list(csv.DictReader((folder / "run" / "metrics.csv").open()))) == 2
    assert len(list((folder / "run" / "tensorboard").glob("events*"))) == 1
    assert sorted(path.name for path in (folder / "run").iterdir()) == [
        "architecture.yaml",
        "cells.png",
        "checkpoints",
        "config.yaml",
        "images.json",
        "metrics.csv",
        "progress.png",
        "tensorboard",
    ]
