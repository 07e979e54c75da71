import copy
import csv
import shutil
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
import torch
import yaml
from conftest import LIGHT, random_architecture
from pytorch_lightning.callbacks import Callback
from short import short

from nni_count.cli import main
from nni_count.commands import retrain as command
from nni_count.data import open_data
from nni_count.errors import DataError, Interrupted, RunError, SettingError, TrainingError
from nni_count.model import load_model
from nni_count.runs.run import Stop
from nni_count.tasks.counting import Counting
from nni_count.training import fitting, learner
from nni_count.training.batches import crop_loader
from nni_count.training.learner import Length, cosine
from nni_count.training.settings import Crops

retrain = short(command.retrain)
TINY = {"crop_size": 32, "batch_size": 2, "network": {"width": 16}, "accelerator": "cpu"}


def train(data, out, **settings):
    return retrain(data=data, architecture=random_architecture(0, LIGHT), out=out, **{**TINY, **settings})


def weights(model):
    return model.network.state_dict()


def stop_at(monkeypatch, step):
    """As if the user pressed Ctrl-C during that step."""

    class At(Stop):
        def __init__(self):
            self.seen = 0

        @property
        def requested(self):
            self.seen += 1
            return self.seen >= step

    @contextmanager
    def graceful_stop():
        yield At()

    monkeypatch.setattr("nni_count.training.fitting.graceful_stop", graceful_stop)


def test_the_run_folder_holds_what_was_promised(shanghaitech, tmp_path):
    model = train(shanghaitech, tmp_path / "run", max_steps=6)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"config.yaml", "metrics.csv", "checkpoints", "tensorboard", "model.safetensors", "images.json"}
    torch.testing.assert_close(weights(load_model(tmp_path / "run" / "model.safetensors")), weights(model))
    assert model.facts["weights"] in ("raw", "average")
    assert model.facts["training_images"] + model.facts["validation_images"] == 8
    rows = list(csv.DictReader(open(tmp_path / "run" / "metrics.csv")))
    best = min(
        float(row[f"validation_mae_{kind}"])
        for row in rows
        for kind in ("raw", "average")
        if row[f"validation_mae_{kind}"]
    )
    assert model.facts["validation_mae"] == pytest.approx(best, rel=1e-4)
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["budget"]["max_steps"] == 6


def test_every_map_that_a_network_gives_is_trained(shanghaitech, tmp_path):
    settings = {"network": "tednet", "architecture": None}
    model = retrain(data=shanghaitech, out=tmp_path / "run", max_steps=1, **{**TINY, **settings})
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert len(state["optimizer_states"][0]["state"]) == len(list(model.network.parameters()))


def test_bins_and_a_loss_are_options(shanghaitech, tmp_path, capsys):
    line = f"retrain --data {shanghaitech} --network mcnn --crop_size 32 --batch_size 1 --max_steps 1"
    bins = ["--task.bins", "[1, 2, 3, 40]", "--loss", "{zip: {weight: 1, count: 0}, sppl: 2}"]
    assert main([*line.split(), *bins, "--out", f"{tmp_path}/a"]) == 0
    model = load_model(tmp_path / "a" / "model.safetensors")
    assert model.task.bins == (1, 2, 3, 40)
    assert model.facts["loss"] == {"zip": {"weight": 1.0, "count": 0}, "sppl": {"weight": 2.0}}
    assert main(f"retrain --config {tmp_path}/a/config.yaml --out {tmp_path}/b --task.bins [3,1]".split()) == 2
    assert "task.bins: [3.0, 1.0]; give at least two counts that rise" in capsys.readouterr().err


class Pointless(Counting):
    def points(self, sample):
        return None


@pytest.mark.parametrize(
    ("network", "loss"),
    [
        ({"width": 16}, {"sppl": 1, "bayesian": 0.1}),
        ("tednet", "dm_count"),
        ({"name": "mcnn"}, {"poisson": 1, "count": 2}),
        ({"width": 16, "map_stride": 4}, {"zip": 1, "sppl": 10}),
    ],
)
def test_losses_of_points_train_a_network_that_a_fresh_process_could_load(shanghaitech, tmp_path, network, loss):
    searched = isinstance(network, dict) and "name" not in network
    settings = {"architecture": random_architecture(0, LIGHT)} if searched else {}
    task = Counting(bins=[1, 2, 3, 5, 9]) if "zip" in loss else None
    settings |= {**TINY, "network": network, "loss": loss, "task": task, "max_steps": 2, "data": shanghaitech}
    model = retrain(out=tmp_path / "run", num_workers=1 if searched else 0, **settings)
    loaded = load_model(tmp_path / "run" / "model.safetensors")
    assert loaded.task == model.task
    assert loaded.facts["loss"].keys() == ({loss} if isinstance(loss, str) else loss.keys())
    image = open_data(shanghaitech).samples("train")[0].read()[:37, :50]
    assert loaded.count(image) == pytest.approx(model.count(image), rel=1e-4, abs=1e-3)
    assert loaded.density(image).shape == tuple(-(-side // model.network.map_stride) for side in (37, 50))
    if task:
        assert loaded.network.settings["out_channels"] == 6
        settings |= {"network": "amsnet", "architecture": None}
        assert retrain(out=tmp_path / "further", from_model=loaded, **settings).task == task


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "zip"}, r"loss zip: the network has no head for bins; give --task.bins"),
        ({"loss": {"mse": 1, "zip": 1}}, r"loss zip: the network has no head for bins; give --task.bins"),
        (
            {"loss": "zip", "task": Counting(bins=(1, 2))},
            r"task.bins: the last is 2, but \S+ has \d+ people in a block",
        ),
        (
            {"loss": "zip", "task": Counting(bins=(1, 99), block=6)},
            r"task.block: 6; .* cells of 4 pixels, give a multiple",
        ),
        (
            {"loss": "bayesian", "task": Pointless()},
            r"loss: bayesian: needs points, and Pointless has those of 0 of its 1",
        ),
        ({"loss": "sal", "crop_size": 16}, r"a map of 4×4 cannot be halved 3 times"),
    ],
)
def test_a_loss_that_network_or_task_cannot_give_what_it_needs_is_said_before_training(
    shanghaitech, tmp_path, settings, message
):
    with pytest.raises(SettingError, match=message):
        retrain(data=shanghaitech, out=tmp_path / "run", **{**TINY, "network": "mcnn", **settings})
    assert not (tmp_path / "run").exists()


def test_the_test_part_is_never_read(shanghaitech, tmp_path):
    for path in (shanghaitech / "test_data" / "images").iterdir():
        path.write_bytes(b"not an image")
    assert train(shanghaitech, tmp_path / "run", max_steps=1).facts["steps"] == 1


def test_images_beyond_the_cache_are_trained_on_too(shanghaitech, tmp_path):
    models = [train(shanghaitech, tmp_path / str(size), max_steps=5, cache_gb=size) for size in (2, 3e4 / 2**30)]
    torch.testing.assert_close(weights(models[0]), weights(models[1]), rtol=0, atol=1e-6)


def test_a_damaged_image_is_named_by_workers_too(shanghaitech, tmp_path):
    for path in (shanghaitech / "train_data" / "images").iterdir():
        path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match=r"^\S+\.jpg: not a readable image [^\n]*$"):
        train(shanghaitech, tmp_path / "run", max_steps=1, num_workers=1)


def test_the_same_seed_gives_the_same_model(shanghaitech, tmp_path):
    models = [train(shanghaitech, tmp_path / str(n), max_steps=5, seed=seed) for n, seed in enumerate((1, 1, 2))]
    torch.testing.assert_close(weights(models[0]), weights(models[1]), rtol=0, atol=1e-6)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(weights(models[0]), weights(models[2]))


@pytest.mark.parametrize("step", [2, 3, 5])
def test_an_interrupted_run_continues_to_the_same_model(shanghaitech, tmp_path, monkeypatch, step):
    straight = train(shanghaitech, tmp_path / "straight", max_steps=8)
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        with pytest.raises(Interrupted, match=f"interrupted after step {step}; continue with --resume"):
            train(shanghaitech, tmp_path / "broken", max_steps=8)
    assert not (tmp_path / "broken" / "model.safetensors").exists()
    resumed = train(shanghaitech, tmp_path / "broken", max_steps=8, resume=True)
    assert resumed.facts["steps"] == 8
    torch.testing.assert_close(weights(resumed), weights(straight), rtol=0, atol=1e-6)


def test_a_validation_that_is_due_comes_before_a_stop(shanghaitech, tmp_path, monkeypatch):
    often = {"val_check_interval": 3, "check_val_every_n_epoch": None}
    monkeypatch.setattr("nni_count.training.fitting._validate_every", lambda length, processes: often)
    train(shanghaitech, tmp_path / "straight", max_steps=8)
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        with pytest.raises(Interrupted, match="interrupted after step 4; continue with --resume"):
            train(shanghaitech, tmp_path / "broken", max_steps=8)
    train(shanghaitech, tmp_path / "broken", max_steps=8, resume=True)
    tables = [list(csv.DictReader(open(tmp_path / name / "metrics.csv"))) for name in ("straight", "broken")]
    first, second = [[row["step"] for row in rows if row["validation_mae_raw"]] for rows in tables]
    assert first == second
    assert len(first) >= 3


def test_a_resumed_run_goes_on_with_the_images_that_it_began_with(shanghaitech, tmp_path):
    images, points = (shanghaitech / "train_data" / name for name in ("images", "ground-truth"))
    straight = train(shanghaitech, tmp_path / "straight", max_steps=4)
    train(shanghaitech, tmp_path / "run", max_steps=2)
    for number in range(20, 24):
        shutil.copy(images / "IMG_1.jpg", images / f"IMG_{number}.jpg")
        shutil.copy(points / "GT_IMG_1.mat", points / f"GT_IMG_{number}.mat")
    with pytest.warns(UserWarning, match=r"goes on without 4 image\(s\) that came later: train_data/images/IMG_20.jpg"):
        resumed = train(shanghaitech, tmp_path / "run", max_steps=4, resume=True)
    assert resumed.origin == straight.origin
    (images / "IMG_3.jpg").write_bytes((images / "IMG_2.jpg").read_bytes())
    with pytest.raises(
        RunError, match=r"was begun with train_data/images/IMG_3.jpg, which is no longer the image that"
    ):
        train(shanghaitech, tmp_path / "run", max_steps=6, resume=True)
    (images / "IMG_3.jpg").unlink()
    (points / "GT_IMG_3.mat").unlink()
    with pytest.raises(RunError, match=r"IMG_3.jpg, which is no longer among the training images; restore it"):
        train(shanghaitech, tmp_path / "run", max_steps=6, resume=True)


def test_the_bar_is_the_plain_one_where_rich_is_installed_too(shanghaitech, tmp_path, capsys):
    train(shanghaitech, tmp_path / "run", max_steps=1)
    written = "".join(capsys.readouterr())
    assert "Epoch 0: " in written
    assert "/-" not in written  # of which epoch, by the other


class Statistics(Callback):
    """A batch norm's running mean and the weight before it, after every step."""

    def __init__(self):
        self.means, self.weights = [], []

    def on_train_batch_end(self, trainer, module, *_):
        self.means.append(module.network.stem[1].running_mean.clone())
        self.weights.append(module.network.stem[0].weight.detach().clone())


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_batch_norms_stand_still_at_the_end_of_the_budget_where_asked_for(shanghaitech, tmp_path, share):
    seen = Statistics()
    train(shanghaitech, tmp_path / "run", max_steps=8, average_decay=0.5, frozen_norms=share, callbacks=[seen])
    moved = [not torch.equal(a, b) for a, b in pairwise(seen.means)]
    learnt = [not torch.equal(a, b) for a, b in pairwise(seen.weights)]
    assert moved == [True] * 4 + [share == 0] * 3
    assert all(learnt[:-1])  # the last rate is next to nothing


@pytest.mark.parametrize("step", [2, 6])
def test_frozen_norms_are_those_of_the_uninterrupted_run(shanghaitech, tmp_path, monkeypatch, step):
    settings = {"max_steps": 8, "average_decay": 0.5, "frozen_norms": 0.5}
    straight = train(shanghaitech, tmp_path / "straight", **settings)
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        with pytest.raises(Interrupted):
            train(shanghaitech, tmp_path / "broken", **settings)
    resumed = train(shanghaitech, tmp_path / "broken", resume=True, **settings)
    torch.testing.assert_close(weights(resumed), weights(straight), rtol=0, atol=1e-6)


def test_a_run_with_a_time_budget_goes_on_with_its_crops(shanghaitech, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        with pytest.raises(Interrupted):
            train(shanghaitech, tmp_path / "run", max_time="00:01:00:00")
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["loader"] == {"epoch": 1, "given": 2}  # 7 training images, 3 steps an epoch
    resumed = train(shanghaitech, tmp_path / "run", max_time="00:00:00:03", resume=True)
    assert resumed.facts["steps"] > 5


def test_training_learns(shanghaitech, tmp_path):
    images, targets = next(
        iter(crop_loader(open_data(shanghaitech).samples("train"), Counting(), Crops(64, 8), stride=4, seed=9))
    )

    def loss(network):
        return torch.nn.functional.mse_loss(network.train()(images), targets).item()

    class First(Callback):
        def on_fit_start(self, trainer, module):
            self.weights = copy.deepcopy(module.network.state_dict())

    first = First()
    model = train(shanghaitech, tmp_path / "run", max_steps=60, crop_size=64, learning_rate=3e-3, callbacks=[first])
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    last = {name.removeprefix("network."): value for name, value in state.items() if name.startswith("network.")}
    model.network.load_state_dict(first.weights)
    before = loss(model.network)
    model.network.load_state_dict(last)
    after = loss(model.network)
    assert after < 0.7 * before, (after, before)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(shanghaitech, tmp_path, monkeypatch):
    calls = []

    def poisoned(self, estimate, target, distance):
        calls.append(1)
        return distance(estimate, target) * (float("nan") if len(calls) > 4 else 1)  # from the fifth step on

    monkeypatch.setattr(Counting, "loss", poisoned)
    with pytest.raises(TrainingError, match=r"the loss is nan at step 4; the last good checkpoint is kept"):
        train(shanghaitech, tmp_path / "run", max_steps=20)
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 3  # the end of the first epoch
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())

    monkeypatch.setattr(Counting, "loss", lambda self, estimate, target, distance: distance(estimate, target))
    rates = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, *_):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    lower = {"learning_rate": 1e-5, "final_learning_rate": 1e-5, "callbacks": [Watch()]}
    train(shanghaitech, tmp_path / "run", max_steps=20, resume=True, **lower)  # as the message advises
    assert rates[1:] == pytest.approx([1e-5] * 16)
    assert len(rates) == 17
    assert max(rates) < 1.1e-5


@pytest.mark.parametrize("settings", [{"validation_fraction": 0}, {}])
def test_weights_that_are_no_numbers_are_neither_a_model_nor_a_checkpoint(shanghaitech, tmp_path, settings):
    with pytest.raises(TrainingError, match=r"are no longer numbers|the loss is|no validation gave a number"):
        train(shanghaitech, tmp_path / "run", max_steps=1, learning_rate=1e38, gradient_clip=None, **settings)
    assert not list((tmp_path / "run").rglob("*.safetensors"))
    assert not list((tmp_path / "run").rglob("*.ckpt"))


def test_an_image_that_cannot_be_read_stops_with_its_name(shanghaitech, tmp_path):
    for path in (shanghaitech / "train_data" / "images").iterdir():
        path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(Exception, match=r"IMG_\d.jpg: not a readable image"):
        train(shanghaitech, tmp_path / "run", max_steps=2)


def test_enlarging(shanghaitech, tmp_path):
    model = train(shanghaitech, tmp_path / "run", max_steps=1, network={"cells": 8, "width": 32, "map_stride": 2})
    settings = model.network.settings
    assert (settings["cells"], settings["width"], settings["taps"], settings["map_stride"]) == (8, 32, [4, 6, 8], 2)


def test_fine_tuning_begins_with_a_models_weights(shanghaitech, tmp_path):
    train(shanghaitech, tmp_path / "first", max_steps=3, task=Counting(sigma=3))
    first = tmp_path / "first" / "model.safetensors"
    settings = {**TINY, "network": "amsnet", "learning_rate": 1e-9, "validation_fraction": 0}
    model = retrain(data=shanghaitech, from_model=first, out=tmp_path / "second", max_steps=1, **settings)
    trained = {name for name, _ in model.network.named_parameters()}
    for name, value in weights(load_model(first)).items():
        if name in trained:  # not the running means of batch norm
            torch.testing.assert_close(weights(model)[name], value)
    before, after = (weights(one)["up_sampling.first.2.running_var"] for one in (load_model(first), model))
    assert (before != after).any()  # batch norm is at training again
    assert (model.name, model.architecture, model.task) == ("amsnet", random_architecture(0, LIGHT), Counting(sigma=3))
    with pytest.raises(SettingError, match="from_model: brings its own network; leave out architecture"):
        train(shanghaitech, tmp_path / "third", from_model=first)


def test_without_validation_all_images_train_and_the_average_is_kept(shanghaitech, tmp_path):
    model = train(shanghaitech, tmp_path / "run", max_steps=4, validation_fraction=0)
    assert (model.facts["training_images"], model.facts["validation_images"]) == (8, 0)
    assert (model.facts["weights"], model.facts["step"], model.facts["validation_mae"]) == ("average", 4, None)
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in weights(model).items():
        torch.testing.assert_close(value, state[f"average.module.{name}"])


@pytest.mark.parametrize(
    ("early", "late", "step"),
    [
        ([9, 9, 9, 9], [5, 5, 5, 5], 4),  # the end is better
        ([5, 5, 5, 5], [9, 2, 9, 3], 4),  # earlier is better by 0.75, with a standard error of 1.9
        ([5, 5, 5, 5], [9, 9, 9, 8], 2),  # by 3.75, with one of 0.25
        ([5, 5, 5, 5], [5, 5, 5, 5], 4),
    ],
)
def test_earlier_weights_are_kept_where_they_are_surely_better(tmp_path, monkeypatch, early, late, step):
    """By the images' own figures, not by the lowest mean, which is that of the luckiest."""
    module, steps = learner.Retraining, []
    begin = module.on_validation_epoch_start

    def started(self):
        steps.append(self.global_step)
        begin(self)

    def judged(network, task, sample, image):
        place = len(module.seen) % 4
        module.seen.append(sample.name)
        return {"estimate": float((early if steps[-1] < 4 else late)[place]), "truth": 0.0}

    monkeypatch.setattr(module, "on_validation_epoch_start", started)
    monkeypatch.setattr(module, "seen", [], raising=False)
    monkeypatch.setattr(learner, "judge_image", judged)
    monkeypatch.setattr(
        fitting, "_validate_every", lambda *_: {"val_check_interval": 2, "check_val_every_n_epoch": None}
    )
    monkeypatch.setattr(
        Counting, "summarise", lambda self, rows, prior: {"mae": np.mean([r["estimate"] for r in rows])}
    )
    data = {"path": "synthetic", "train": 12, "test": 2, "size": 32}
    how = {"network": "mcnn", "crop_size": 32, "batch_size": 2, "average_decay": 0, "validation_fraction": 4 / 12}
    model = retrain(data=data, out=tmp_path / "run", max_steps=4, accelerator="cpu", **how)
    assert (model.facts["step"], model.facts["validation_mae"]) == (step, np.mean(late if step == 4 else early))


def test_schedules():
    budget = Length(steps=100, seconds=50)
    assert budget.progress(50, 0) == 0.5
    assert budget.progress(50, 40) == 0.8
    assert budget.progress(500, 0) == 1
    assert (cosine(0), cosine(1)) == (1, 0)
    assert cosine(0.5) == pytest.approx(0.5)


def test_the_papers_schedule(shanghaitech, tmp_path, monkeypatch):
    monkeypatch.setattr("nni_count.training.learner.PAPER_DECAY_STEPS", 2)
    train(shanghaitech, tmp_path / "run", max_steps=5, schedule="paper")
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(1e-3 * 0.8**2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "step"}, "schedule: 'step' is unknown; choose cosine or paper"),
        ({"frozen_norms": 1.0}, "frozen_norms: 1.0; give a number from 0 to below 1"),
        ({"max_time": "30m"}, "max_time: '30m' is no duration; write DD:HH:MM:SS"),
        ({"max_time": "00:00:00:00"}, "max_time: '00:00:00:00' is no time at all; give a second or more"),
        ({"crop_size": 30}, "crop_size: 30"),
        ({"batch_size": 0}, "batch_size: 0"),
        ({"network": "vgg"}, "network: 'vgg' is unknown"),
        ({"loss": "sall"}, "loss: 'sall' is unknown; known: mse"),
        ({"loss": {"sppl": {"poolings": ["avg_2x2"] * 4}}}, "a map of 8×8 cannot be halved 4 times"),
    ],
)
def test_a_bad_setting_is_named_and_nothing_is_written(shanghaitech, tmp_path, settings, message):
    with pytest.raises(SettingError, match=message):
        train(shanghaitech, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_data_that_have_moved(shanghaitech, tmp_path):
    train(shanghaitech, tmp_path / "run", max_steps=2)
    moved = tmp_path / "moved"
    shutil.copytree(shanghaitech, moved)
    for number, path in enumerate((f"{shanghaitech}/", moved)):
        assert train(path, tmp_path / "run", max_steps=3 + number, resume=True).facts["steps"] == 3 + number
    with pytest.raises(RunError, match=r"was begun with data \{\}, not \{'max_side': 40\}; resume with the same"):
        train({"path": moved, "max_side": 40}, tmp_path / "run", max_steps=5, resume=True)


def test_another_run_in_the_folder_is_not_touched(shanghaitech, tmp_path):
    train(shanghaitech, tmp_path / "run", max_steps=1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    with pytest.raises(RunError, match="is not empty"):
        train(shanghaitech, tmp_path / "run", max_steps=1)
    with pytest.raises(RunError, match=r"was begun with crops\.size 32, not 64"):
        train(shanghaitech, tmp_path / "run", max_steps=1, crop_size=64, resume=True)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before
