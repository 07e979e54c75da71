"""Any task is searched, retrained, evaluated and applied; what it gets wrong is said at the first sample."""

import csv
import json
import sys
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
import torch
from conftest import LIGHT, random_architecture
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from short import short
from small_space import SmallSpace

from nni_count.architecture import read_architecture
from nni_count.cli import main
from nni_count.commands import retrain as command
from nni_count.commands.evaluate import evaluate, table
from nni_count.commands.predict import predict
from nni_count.data.dataset import Dataset
from nni_count.data.sample import Sample
from nni_count.errors import DataError, ModelError, SettingError
from nni_count.model import load_model
from nni_count.model.seal import BLANK
from nni_count.tasks.checking import check_task
from nni_count.tasks.counting import Counting
from nni_count.tasks.task import Task, create_task, middles, usual_task
from nni_count.training.crops import CropStream
from nni_count.training.settings import Augmentation, Crops


@dataclass(frozen=True)
class Brightness(Task):
    """Two maps, how red and how green an image is, from 0 to 1: easy to learn, and larger is better."""

    scale: float = 10.0

    out_channels = 2
    main_metric = "close"
    larger_is_better = True
    unit = "brightness"

    def target(self, sample, shape, stride):
        return middles(sample.map(shape), stride) * self.scale

    def estimate(self, output, stride):
        return output / self.scale

    def measure(self, estimate, sample, shape):
        truth = sample.map(shape)
        large = np.stack([cv2.resize(one, shape[::-1], interpolation=cv2.INTER_LINEAR) for one in estimate])
        error = np.abs(large - truth)
        return {"close": float((error < 0.1).mean()), "error": float(error.mean())}

    @property
    def readings(self):
        return {"reddest": lambda maps: maps[0].max(), "red": lambda maps: maps[0]}


class Colours(Dataset):
    """Blocks of colour; the map is what the image shows."""

    name = "colours"
    splits = ("train", "test")

    def __init__(self, **changes):
        super().__init__("nowhere")
        self.changes = changes

    @staticmethod
    def recognises(root):
        return False

    def read(self, split):
        return [replace(colour_sample(number + 100 * (split == "test")), **self.changes) for number in range(6)]


def colour_sample(number=0, size=(40, 48)):
    image = np.random.default_rng(number).integers(0, 256, (*(side // 8 for side in size), 3), np.uint8)
    image = image.repeat(8, 0).repeat(8, 1)
    red_green = lambda: np.moveaxis(image[:, :, :2].astype(np.float32) / 255, 2, 0)  # noqa: E731
    return Sample(f"colour-{number}", np.zeros((0, 2)), lambda: image, read_map=red_green)


retrain = short(command.retrain)
TINY = {
    "architecture": random_architecture(0, LIGHT),
    "crop_size": 32,
    "batch_size": 2,
    "network": {"width": 16},
    "accelerator": "cpu",
}


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([0.0, 25.0, 180.0]),
    st.sampled_from([(1, 1), (0.5, 0.8), (1.5, 2)]),
    st.booleans(),
)
def test_maps_go_where_their_pixels_go(position, rotation, scale, quarter_turns):
    augmentation = Augmentation(rotation=rotation, scale=scale, quarter_turns=quarter_turns)
    stream = CropStream(
        [colour_sample(size=(96, 120))], Brightness(1), Crops(64, augmentation=augmentation), stride=1, seed=0
    )
    crop, target = stream[position]
    shown = np.moveaxis(crop[:, :, :2].astype(np.float32) / 255, 2, 0)
    inside = target.any(0) & ~(crop == (124, 116, 104)).all(2)
    assert inside.mean() > 0.1
    # at the edges of the blocks pixels are mixed, values are not
    around = np.ones((3, 3), np.uint8)
    even = inside & np.all([cv2.erode(one, around) == cv2.dilate(one, around) for one in target], axis=0)
    assert even.mean() > 0.02
    assert np.quantile(np.abs(shown - target)[:, even], 0.9) < 0.01


def test_beyond_the_image_a_map_is_zero():
    augmentation = Augmentation(rotation=0)
    stream = CropStream(
        [colour_sample(size=(16, 16))], Brightness(1), Crops(64, augmentation=augmentation), stride=1, seed=0
    )
    assert np.count_nonzero(stream[0][1].any(0)) == 16 * 16


@pytest.mark.parametrize(("size", "stride"), [((8, 12), 4), ((9, 13), 4), ((11, 5), 4), ((3, 3), 2), ((3, 2), 1)])
def test_a_cell_has_the_value_of_its_middle(size, stride):
    maps = np.arange(size[0] * size[1], dtype=np.float32).reshape(1, *size)
    cells = middles(maps, stride)
    assert cells.shape == (1, -(-size[0] // stride), -(-size[1] // stride))
    assert cells[0, 0, 0] == maps[0, stride // 2, stride // 2]


def test_quarter_turns_take_points_along():
    image = np.zeros((64, 64, 3), np.uint8)
    image[10, 20] = 255
    sample = Sample("dot", np.array([[20.5, 10.5]]), lambda: image)
    places = set()
    for position in range(40):
        augmentation = Augmentation(rotation=0, quarter_turns=True)
        stream = CropStream([sample], Counting(), Crops(64, augmentation=augmentation), stride=1, seed=0)
        crop, target = stream[position]
        y, x = np.argwhere(crop[:, :, 0])[0]
        assert np.unravel_index(target[0].argmax(), (64, 64)) == (y, x)
        places.add((y, x))
    assert len(places) == 8


def test_a_crop_knows_its_zoom():
    zooms = []

    class Watched(Brightness):
        def target(self, sample, shape, stride):
            zooms.append(sample.zoom)
            return super().target(sample, shape, stride)

    augmentation = Augmentation(rotation=0, scale=(1.5, 1.5))
    stream = CropStream([colour_sample()], Watched(), Crops(24, augmentation=augmentation), stride=1, seed=0)
    stream[0]
    assert zooms == [1.5]


def test_another_task_from_retraining_to_prediction(tmp_path):
    model = retrain(data=Colours(), task=Brightness(), out=tmp_path / "run", max_steps=20, **TINY)
    assert model.network.settings["out_channels"] == 2
    assert 0 < model.facts["validation_close"] <= 1
    rows = list(csv.DictReader(open(tmp_path / "run" / "metrics.csv")))
    best = max(float(row["validation_close_raw"] or 0) for row in rows)
    assert model.facts["validation_close"] >= best - 1e-6  # larger is better
    loaded = load_model(tmp_path / "run" / "model.safetensors")
    assert loaded.task == Brightness()
    image = colour_sample(7).read()
    model.fold()  # as a loaded one is
    np.testing.assert_array_equal(loaded.map(image), model.map(image))
    assert loaded.reddest(image) == pytest.approx(loaded.red(image).max())
    with pytest.raises(AttributeError, match="has no 'count'; Brightness reads reddest, red"):
        loaded.count(image)

    report = evaluate(model=loaded, data=Colours(), out=tmp_path / "evaluation")
    rows = list(csv.DictReader(open(tmp_path / "evaluation" / "per_image.csv")))
    assert list(rows[0]) == ["name", "close", "error", "seconds"]
    assert "seconds" not in report  # once, as seconds_per_image
    assert report["close"] == pytest.approx(np.mean([float(row["close"]) for row in rows]), abs=1e-4)
    assert (report["main_metric"], report["larger_is_better"]) == ("close", True)
    assert not {"mae", "people", "constant_mae"} & set(report)
    assert f"{report['close']:.4g}" in table(report)

    cv2.imwrite(str(tmp_path / "photo.png"), image)
    (row,) = predict(tmp_path / "photo.png", model=loaded, out=tmp_path / "prediction")
    assert list(row) == ["image", "reddest", "overlay"]
    assert json.loads((tmp_path / "prediction" / "estimates.json").read_text()) == [row]


def test_another_task_is_searched_and_its_channels_follow(tmp_path):
    from nni_count.commands.search import search as searching
    from strategies import DARTS

    settings = {"max_epochs": 1, "crop_size": 32, "batch_size": 1, "limit_train_batches": 1, "accelerator": "cpu"}
    space = SmallSpace(width=16, map_stride=4)
    search = short(searching)
    search(data=Colours(), space=space, strategy=DARTS(), task=Brightness(), out=tmp_path / "run", **settings)
    assert read_architecture(tmp_path / "run" / "architecture.yaml").network["out_channels"] == 2
    three = SmallSpace(width=16, map_stride=4, out_channels=3)
    with pytest.raises(SettingError, match=r"space.out_channels: 3; the task regresses 2 map\(s\)"):
        search(data=Colours(), space=three, strategy=DARTS(), task=Brightness(), out=tmp_path / "other", **settings)


def test_channels_that_are_asked_for_must_be_the_tasks(tmp_path):
    changed = {**TINY, "network": {"width": 16, "out_channels": 3}}
    with pytest.raises(SettingError, match=r"network.out_channels: 3; the task regresses 2 map\(s\)"):
        retrain(data=Colours(), task=Brightness(), out=tmp_path / "run", max_steps=1, **changed)


class OneMap(Brightness):
    def target(self, sample, shape, stride):
        return super().target(sample, shape, stride)[:1]


class Coarse(Brightness):
    def target(self, sample, shape, stride):
        return super().target(sample, shape, 2 * stride)


class NoNumber(Brightness):
    def target(self, sample, shape, stride):
        return super().target(sample, shape, stride) * np.float32("nan")


class NoMetric(Task):
    target = Brightness.target
    scale = 1.0
    out_channels = 2

    def measure(self, estimate, sample, shape):
        return {"error": 1.0}


class OtherMetric(NoMetric):
    main_metric = "accuracy"


def maps(values):
    return {"read_map": lambda: np.full(*values)}


@pytest.mark.parametrize(
    ("task", "changes", "error", "message"),
    [
        (OneMap(), {}, DataError, r"OneMap made a target of shape \(1, 40, 48\); expected 2 channel\(s\)"),
        (Coarse(), {}, DataError, "Coarse made a target of 20×24 cells; an image of 40×48 pixels has 40×48"),
        (NoNumber(), {}, DataError, "NoNumber made a target with NaN or infinity"),
        (Brightness(), maps(((2, 9, 48), 1.0)), DataError, r"its map has the shape \(2, 9, 48\); expected channels"),
        (Brightness(), maps(((40, 48), 1.0)), DataError, r"its map has the shape \(40, 48\); expected channels"),
        (Brightness(), maps(((2, 40, 48), np.nan)), DataError, "NaN or infinity in its map; mend it"),
        (Brightness(), {"read_map": None}, DataError, "has no map; give its sample a read_map"),
        (NoMetric(), {}, SettingError, "the task NoMetric has no metric for it: main_metric is ''.*figures are error"),
        (OtherMetric(), {}, SettingError, ".*main_metric is 'accuracy', and its figures are error"),
    ],
)
def test_what_does_not_fit_is_said_at_the_first_sample_with_its_file(tmp_path, task, changes, error, message):
    data = Colours(path=tmp_path / "first.png", **changes)
    with pytest.raises(error, match=f"{tmp_path}/first.png: {message}"):
        retrain(data=data, task=task, out=tmp_path / "run", max_steps=1, **TINY)
    assert not (tmp_path / "run").exists()


def test_a_later_sample_that_does_not_fit_is_said_too(tmp_path):
    samples = [colour_sample(0), replace(colour_sample(1), path=tmp_path / "second.png", **maps(((2, 3, 4), 1.0)))]
    stream = CropStream(samples, Brightness(), Crops(32), stride=1, seed=0)
    with pytest.raises(DataError, match=r"second.png: its map has the shape \(2, 3, 4\)"):
        [stream[position] for position in range(2)]


def test_a_task_is_found_by_name_and_by_path(tmp_path, monkeypatch):
    installed = tmp_path / "theirs-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[nni_count.tasks]\nTheirs = nni_count.tasks.counting:Counting\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert create_task("Theirs", {"sigma": 2}) == Counting(sigma=2)
    assert create_task("nni_count.tasks.counting.Counting") == usual_task()
    for name, message in (
        ("Guessing", "task: 'Guessing' is unknown; known: .*Theirs"),
        ("no_such.Task", "task no_such.Task: cannot be imported .*install the package that has it"),
        ("nni_count.tasks.checking.check_task", "is no nni_count.Task"),
        ("nni_count.errors.DataError", "is no nni_count.Task"),
    ):
        with pytest.raises(SettingError, match=message):
            create_task(name)
    with pytest.raises(SettingError, match="sgima"):
        create_task("Theirs", {"sgima": 3})
    with pytest.raises(SettingError, match=r"task: str is no nni_count\.Task"):
        check_task("Counting", colour_sample())


def test_a_model_file_imports_nothing_and_runs_nothing_but_a_task(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    retrain(data=Colours(), task=Brightness(), out=tmp_path / "run", max_steps=1, **TINY)
    with safe_open(tmp_path / "run" / "model.safetensors", "pt") as file:
        header = {**file.metadata(), "checksum": BLANK}
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    (tmp_path / "their_module.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\nfrom nni_count.tasks.counting import Counting as Theirs"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, message in (
        ("os.system", "is no Task"),
        ("nni_count.tasks.checking.check_task", "is no Task"),
        ("nni_count.data.dataset.Dataset", "is no Task"),
        ("their_module.Theirs", "give --task_class their_module.Theirs, or import it before"),
        ("unittest.__main__.main", "nothing is imported because a file names it"),
        ("..x.y", "nothing is imported"),
        (".", "nothing is imported"),
        ("Counting", "nothing is imported"),
        ([1], "do not fit together"),
        (None, "do not fit together"),
        (f"{__name__}.Brightness", "command"),
    ):
        task = {"name": name, "settings": {"command": f"touch {tmp_path}/ran"}}
        save_file(weights, path, metadata={**header, "task": json.dumps(task)})
        with pytest.raises(ModelError, match=f"{path}: .*{message}"):
            load_model(path)
    assert not (tmp_path / "ran").exists()
    assert "unittest.__main__" not in sys.modules
    (tmp_path / "their_module.py").write_text(
        "from test_task import Brightness\n\n\nclass Theirs(Brightness):\n    pass\n"
    )
    save_file(weights, path, metadata={**header, "task": json.dumps({"name": "their_module.Theirs", "settings": {}})})
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), colour_sample().read())
    line = ["predict", str(photo), "--model", str(path)]
    assert main(line) == 2
    assert main([*line, "--task_class", "test_task.Unfitting"]) == 2
    assert main([*line, "--task_class", "their_module.Theirs", "--out", str(tmp_path / "seen")]) == 0
    assert main(["predict", "--config", str(tmp_path / "seen" / "config.yaml"), "--out", str(tmp_path / "again")]) == 0


def test_counting_reads_what_it_always_read():
    task = usual_task()
    sample = Sample("four", np.array([[1.5, 1.5], [9.0, 9.0], [9.0, 9.0], [30.0, 20.0]]), lambda: None)
    for stride in (1, 2, 4):
        target = torch.from_numpy(task.target(sample, (40, 48), stride))
        density = task.estimate(target, stride).numpy()
        assert density.shape == (1, 40 // stride, 48 // stride)
        assert task.numbers(density) == {"count": pytest.approx(4, abs=1e-3)}
        figures = task.measure(density, sample, (40, 48))
        assert figures == {"truth": 4, "estimate": pytest.approx(4, abs=1e-3), "error": pytest.approx(0, abs=1e-3)}
        assert task.examine(density, sample, (40, 48))["ssim"] > 0.8


def test_on_the_command_line_a_task_is_given_by_its_path(tmp_path, capsys, monkeypatch):
    (tmp_path / "their_task.py").write_text(
        "from nni_count.tasks.counting import Counting\n\n\nclass Twice(Counting):\n    out_channels = 2\n\n"
        "    def target(self, sample, shape, stride):\n"
        "        return super().target(sample, shape, stride).repeat(2, 0)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    task = "--data synthetic --data.train 4 --data.size 64 --task their_task.Twice --task.sigma 3"
    small = "--crop_size 32 --batch_size 1"
    space = "--space small_space.SmallSpace --space.width 16 --space.map_stride 4 --strategy strategies.DARTS"
    search = f"search {task} {small} {space} --max_epochs 1 --limit_train_batches 1 --out {tmp_path}/a"
    assert main(search.split()) == 0
    architecture = f"--architecture {tmp_path}/a/architecture.yaml"
    assert main(f"retrain {task} {small} {architecture} --max_steps 1 --out {tmp_path}/b".split()) == 0
    assert "validation MAE" in capsys.readouterr().out
    model = load_model(tmp_path / "b" / "model.safetensors")
    assert (model.task.sigma, type(model.task).__name__, model.network.settings["out_channels"]) == (3, "Twice", 2)
    assert main(f"retrain {task}x {small} {architecture} --task.sgima 3 --out {tmp_path}/c".split()) == 2
