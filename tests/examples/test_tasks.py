"""The tasks of the examples: what their targets, losses and figures say; their scripts go on where they were."""

import json

import numpy as np
import pytest
import torch

from examples import beside_unet, stages
from examples.cells import table as cells_table
from examples.classes.scenes import NutsAndBolts
from examples.perspective.scenes import Crowds
from examples.perspective.task import Perspective
from nni_count.losses import create_loss
from nni_count.tasks.checking import check_task
from nni_count.tasks.classes import CountingClasses
from nni_count.training.crops import CropStream
from nni_count.training.settings import Augmentation, Crops


@pytest.fixture(scope="module")
def bench():
    return NutsAndBolts(train=4, test=2).samples("train")


@pytest.fixture(scope="module")
def crowds():
    return Crowds(train=4, test=2).samples("train")


def test_every_class_has_a_map_of_its_own(bench):
    task = CountingClasses(classes=("nuts", "bolts"))
    check_task(task, bench)
    for sample in bench:
        maps = task.estimate(torch.from_numpy(task.target(sample, (192, 192), 4)), 4).numpy()
        assert maps.shape == (2, 48, 48)
        expected = np.array([(sample.labels == name).sum() for name in task.classes])
        numbers = task.numbers(maps)
        assert numbers == pytest.approx({"nuts": expected[0], "bolts": expected[1], "total": sample.count}, abs=1e-3)
    figures = task.summarise([task.measure(maps * [[[2]], [[0.5]]], sample, (192, 192))], task.prior(bench))
    errors = expected * [1, -0.5]
    assert figures["mae_nuts"] == pytest.approx(abs(errors[0]), abs=1e-3)
    assert figures["mae_bolts"] == pytest.approx(abs(errors[1]), abs=1e-3)
    assert figures["mae_total"] == pytest.approx(abs(errors.sum()), abs=1e-3)
    assert figures["mae"] == pytest.approx(np.abs(errors).mean(), abs=1e-3)
    assert figures["constant_mae"] > 0


def test_labels_stay_with_their_points_through_crops(bench):
    augmentation = Augmentation(rotation=0, quarter_turns=True)
    stream = CropStream(
        bench, CountingClasses(classes=("nuts", "bolts")), Crops(192, augmentation=augmentation), stride=1, seed=0
    )
    totals = sorted(tuple(np.round(stream[place][1].sum((1, 2)) / 100).astype(int).tolist()) for place in range(4))
    assert totals == sorted(tuple(int((sample.labels == name).sum()) for name in ("nuts", "bolts")) for sample in bench)


def test_a_metre_grows_with_the_crop(crowds):
    task = Perspective()
    seen = {}
    for zoom in (1.0, 2.0):
        augmentation = Augmentation(rotation=0, scale=(zoom, zoom))
        stream = CropStream(crowds[:1], task, Crops(256, augmentation=augmentation), stride=1, seed=0)
        seen[zoom] = stream[0][1]
    steps = {zoom: np.diff(target[0, :, 0][target[0, :, 0] > 0]).max() for zoom, target in seen.items()}
    assert steps[2.0] == pytest.approx(2 * steps[1.0], rel=0.01)  # steps between rows, each row shown twice


def test_what_is_not_known_of_a_perspective_is_not_compared(crowds):
    task, distance = Perspective(), create_loss(None, ("avg_2x2", "max_4x4", "max_2x2"))
    check_task(task, crowds)
    target = torch.from_numpy(task.target(crowds[0], (256, 256), 4))[None]
    assert (target == 0).any()
    anything = torch.where(target > 0, target, 7.0)
    assert task.loss(anything, target, distance) == 0
    assert task.loss(1.1 * anything, target, distance) > 0
    figures = task.measure(task.estimate(1.3 * target[0], 4).numpy(), crowds[0], (256, 256))
    assert figures["relative_error"] == pytest.approx(0.3, abs=0.03)
    assert figures["within_1.25"] < 0.1
    assert task.measure(task.estimate(target[0], 4).numpy(), crowds[0], (256, 256))["within_1.25"] > 0.95


@pytest.mark.parametrize("parameters", [28_000, 46_000, 77_000, 160_000])
def test_the_unet_is_as_large_as_what_it_stands_beside(parameters):
    network = beside_unet.create("unet", **beside_unet.unet_settings(parameters, 2), out_channels=2)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(parameters, rel=0.12)


def report(path, **figures):
    path.mkdir(parents=True)
    model = {"steps": 100, "seconds": 240.0}
    facts = {"parameters": 77_000, "seconds_per_image": 0.1, "model": model, **figures}
    (path / "evaluation.json").write_text(json.dumps(facts))


def test_tables_show_what_is_finished(tmp_path):
    report(tmp_path / "perspective" / "amsnet_test", relative_error=0.1234, rmse=5.0, **{"within_1.25": 0.9})
    figures = "relative_error 0.123, rmse 5, within_1.25 0.9"
    assert f"| perspective | amsnet | 77,000 | 100 | 4.0 | {figures} |" in beside_unet.table(tmp_path)
    for seed, mae in ((0, 2.0), (1, 3.0)):
        report(tmp_path / "cells" / f"50-{seed}" / "test", mae=mae, rmse=4.0)
    rows = cells_table.collect(tmp_path / "cells")
    assert [(row["images"], row["seed"], row["mae"]) for row in rows] == [(50, 0, 2.0), (50, 1, 3.0)]
    assert "| 50 | 2 | 77,000 | 4 min | **2.50 ± 0.71** |" in cells_table.table(rows)


def test_a_step_that_is_finished_stays_and_one_that_was_interrupted_goes_on(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(stages.nni_count, "retrain", lambda **settings: calls.append(settings["resume"]))
    out = tmp_path / "retrain"
    stages.retrained(out)
    (out / "checkpoints").mkdir(parents=True)
    (out / "checkpoints" / "last.ckpt").touch()
    assert stages.retrained(out) == out / "model.safetensors"
    (out / "model.safetensors").touch()
    stages.retrained(out)
    assert calls == [False, True]


@pytest.mark.slow
@pytest.mark.parametrize("name", beside_unet.EXAMPLES)
def test_both_networks_are_trained_and_stand_in_the_table(tmp_path, name):
    beside_unet.run(name, tmp_path / name, minutes=0.05, seed=0)
    text = beside_unet.table(tmp_path)
    assert "| amsnet |" in text
    assert "| unet |" in text
