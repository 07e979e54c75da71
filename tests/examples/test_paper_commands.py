"""The paper in one command each: what search.yaml and retrain.yaml make is NAS-Count's, sections 4.1.1 and 4.1.2."""

import json
import re
from functools import wraps

import pytest
import yaml
from docs.pages import ROOT, tables

import nni_count.commands.retrain as retraining
import nni_count.commands.search as searching
from nni_count.architecture import read_architecture
from nni_count.cli import main
from nni_count.model import load_model
from nni_count.training.learner import PAPER_DECAY, PAPER_DECAY_STEPS
from nni_count.training.names import SHORT

FOLDER = ROOT / "examples" / "paper"
SEARCH, RETRAIN = FOLDER / "search.yaml", FOLDER / "retrain.yaml"

#: what is made → the paper's value, and the section that states it; "–" where it states none and ours is the plain one
OF_SEARCH = {
    "space.settings.cells": (6, "3.1.2"),
    "space.settings.width": (256, "3.1.2"),
    "space.settings.map_stride": (1, "3.1.2"),  # "restored spatial resolution"
    "space.settings.stem_stride": (1, "3.1.1"),
    "space.settings.in_channels": (3, "2"),
    "space.settings.pyramid": ("published", "3.2"),
    "space.settings.affine": (False, "–"),
    "strategy.k": (4, "3.1.1"),
    "strategy.channels": ("random", "3.1.1"),
    "strategy.arc_learning_rate": (6e-4, "4.1.1"),
    "strategy.arc_weight_decay": (1e-3, "4.1.1"),
    "strategy.warmup_epochs": (40, "4.1.1"),
    "budget.max_epochs": (80, "4.1.1"),
    "budget.max_time": (None, "–"),
    "budget.limit_train_batches": (None, "–"),
    "budget.early_stop.skips": (None, "–"),
    "budget.early_stop.unchanged": (None, "–"),
    "recipe.optimizer": ("adam", "–"),
    "recipe.betas": ((0.9, 0.999), "–"),
    "recipe.learning_rate": (1e-3, "4.1.1"),
    "recipe.final_learning_rate": (4e-4, "4.1.1"),
    "recipe.weight_decay": (1e-4, "4.1.1"),
    "recipe.gradient_clip": (None, "–"),
    "decoding.rule": ("paper", "3.1.1"),
    "decoding.cost": (None, "–"),
    "decoding.validation_images": (0, "–"),
    "task": (None, "4.1"),  # counting, see below
}
OF_RETRAINING = {
    "network": ({"name": "amsnet", "cells": 8, "width": 512, "map_stride": 1}, "3.1.2"),
    "from_model": (None, "4.1.2"),  # "re-train their network weights from scratch"
    "recipe.loss": ("sppl", "3.2"),
    "recipe.optimizer": ("adam", "4.1.2"),
    "recipe.betas": ((0.9, 0.999), "–"),
    "recipe.learning_rate": (1e-3, "4.1.2"),
    "recipe.schedule": ("paper", "4.1.2"),
    "recipe.weight_decay": (0, "–"),
    "recipe.gradient_clip": (None, "–"),
    "recipe.average_decay": (0, "–"),
    "recipe.frozen_norms": (0, "–"),
    "recipe.validation_fraction": (0, "–"),
    "budget.max_steps": (None, "–"),
    "budget.max_time": (None, "–"),
    "task": (None, "4.1"),
}
#: "random sampling, flip and rotation" (section 4.1.1) alone
NO_OTHERS = {"scale": (1.0, 1.0), "points_share": 0.0, "quarter_turns": False}


@pytest.fixture
def made(monkeypatch):
    """A function: a command line → what the command's function would be called with."""

    def parse(line):
        command = line.split()[0]
        module = {"search": searching, "retrain": retraining}[command]
        found = {}

        @wraps(getattr(module, command))
        def record(**settings):
            found.update(settings)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(module, command, record)
            assert main(line.split()) == 130
        return found

    return parse


def value_of(settings, name):
    for part in name.split("."):
        settings = settings[part] if isinstance(settings, dict) else getattr(settings, part)
    return tuple(settings) if isinstance(settings, list) else settings


def check(found, expected):
    assert {name: value_of(found, name) for name in expected} == {name: value for name, (value, _) in expected.items()}
    augmentation = found["crops"].augmentation
    assert augmentation.rotation > 0
    assert {name: value_of(augmentation, name) for name in NO_OTHERS} == NO_OTHERS


def test_the_search_is_the_papers(made):
    found = made(f"search --config {SEARCH} --data d --out o")
    check(found, OF_SEARCH)
    assert type(found["space"]).__name__ == "AMSNetSpace"
    assert type(found["strategy"]).__name__ == "PartialChannel"


def test_the_retraining_is_the_papers(made):
    check(made(f"retrain --config {RETRAIN} --data d --architecture a --out o"), OF_RETRAINING)
    assert (PAPER_DECAY, PAPER_DECAY_STEPS) == (0.8, 15_000)


def test_a_head_is_the_papers_kernel():
    """Section 4.1: "radius equals to 15 pixels" of its reference [65], whose code has σ = 4 on 15×15."""
    task = searching.usual_task()
    assert (type(task).__name__, task.sigma, task.kernel_size, task.beta) == ("Counting", 4.0, 15, None)


def test_the_files_have_every_setting_in_which_the_defaults_differ():
    """The table of docs/search.md: its paper's column is what the files give, where it is a number."""
    files = {"search": yaml.safe_load(SEARCH.read_text()), "retraining": yaml.safe_load(RETRAIN.read_text())}
    command, checked = None, []
    for first, *others in tables(ROOT / "docs" / "search.md"):
        if title := re.match(r"\*\*(search|retraining)\*\*", first):
            command = title[1]
        elif command and len(others) == 3:
            said, _, options = others
            numbers = {float(number) for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", said)}
            for option in re.findall(r"--([\w.]+)", options):
                settings = files[command]
                for name in SHORT.get(option, option).split("."):
                    settings = settings.get("init_args", settings).get(name, {})
                if isinstance(settings, (int, float)) and numbers:
                    assert settings in numbers, (option, said)
                    checked.append(option)
        else:
            command = None
    assert {"space.width", "strategy.warmup_epochs", "network.cells", "network.width"} <= set(checked)


def test_both_run_from_end_to_end(tmp_path, capsys):
    less = "--data synthetic --data.train 8 --data.test 2 --data.size 64 --crop_size 32 --batch_size 2"
    line = f"search --config {SEARCH} {less} --space.width 64 --max_epochs 2 --strategy.warmup_epochs 1"
    assert main(f"{line} --limit_train_batches 1 --out {tmp_path}/search".split()) == 0, capsys.readouterr().err
    cells = tmp_path / "search" / "architecture.yaml"
    assert read_architecture(cells).provenance["epochs"] == 2
    line = f"retrain --config {RETRAIN} {less} --architecture {cells} --network.width 16 --max_steps 2"
    assert main(f"{line} --out {tmp_path}/retrain".split()) == 0, capsys.readouterr().err
    model = load_model(tmp_path / "retrain" / "model.safetensors")
    assert model.network.settings["cells"] == 8
    facts = ("weights", "step", "steps", "validation_images", "training_images", "validation_mae")
    assert [model.facts[name] for name in facts] == ["raw", 2, 2, 0, 8, None]
    data = "--data synthetic --data.train 8 --data.test 2 --data.size 64"
    line = f"evaluate --model {tmp_path}/retrain/model.safetensors {data} --out {tmp_path}/test"
    assert main(line.split()) == 0, capsys.readouterr().err
    assert json.loads((tmp_path / "test" / "evaluation.json").read_text())["images"] == 2
