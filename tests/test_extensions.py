"""One of each from another package: its own file, a line of registration, and it is used by name like ours."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from installed import install

from nni_count.cli import main
from nni_count.model import load_model
from nni_count.searching.nni import LayerChoice
from search_spaces import AMSNetSpace

FILES = {
    "operation.py": """
        from nni_count.ops import Operation, convolution

        conv_5x5 = Operation(lambda channels, affine: convolution(channels, 5, affine=affine))
        """,
    "task.py": '''
        from dataclasses import dataclass

        from nni_count.tasks.counting import Counting


        @dataclass(frozen=True)
        class Cars(Counting):
            """Counts cars.

            Args:
                length: of a car, in pixels.
            """

            length: float = 9.0
            main_metric = "bias"
            noun = "cars"

            def is_better(self, figure, other):
                return abs(figure) < abs(other)
        ''',
    "reader.py": '''
        import json

        from nni_count.data import Dataset
        from nni_count.data.files import find_images


        class CarPark(Dataset):
            """Photographs beside ``cars.json``.

            Args:
                floor: only this one.
            """

            layout = "cars.json beside images"
            splits = ("train", "test")

            def __init__(self, root, *, floor: int = 0, **common):
                super().__init__(root, **common)
                self.floor = floor

            @staticmethod
            def recognises(root):
                return (root / "cars.json").is_file()

            def read(self, split):
                cars = json.loads((self.root / "cars.json").read_text())
                images = find_images(self.root)
                return self.gather(sorted(cars), lambda name: self.sample(name, images[name], cars[name]))
        ''',
    "network.py": '''
        from torch import nn

        from nni_count.networks.hand_designed import HandDesigned


        class Plain(HandDesigned):
            """A convolution.

            Args:
                kernel: a side of it, in pixels.
            """

            multiple, map_stride = 1, 1

            def __init__(self, in_channels: int = 3, out_channels: int = 1, kernel: int = 3):
                super().__init__(in_channels, out_channels, kernel=kernel)
                self.layer = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)

            def forward(self, image):
                return self.layer(image)
        ''',
    "loss.py": """
        from torch import nn


        class Absolute(nn.Module):
            def forward(self, estimate, target):
                return (estimate - target).abs().mean()
        """,
    "metric.py": """
        import numpy as np


        def bias(estimates, truths):
            return float(np.mean(estimates - truths))
        """,
    "strategy.py": '''
        from strategies import DARTS


        class Hasty(DARTS):
            """DARTS in a hurry.

            Args:
                haste: how great it is.
            """

            def __init__(self, *, haste: float = 2.0):
                super().__init__(arc_learning_rate=haste * 1e-3)
                self.haste = haste
        ''',
    "command.py": '''
        from pathlib import Path

        from nni_count.data import DataSetting, open_data


        def cars(names: list[str], *, data: DataSetting, out: Path | None = None, wheels: int = 4) -> str:
            """Count the wheels of a car park.

            Args:
                names: of photographs.
                data: a data set.
                out: nothing is written.
                wheels: of a car.
            """
            samples = {sample.name: sample for sample in open_data(data).samples("train")}
            return f"{wheels * sum(samples[name].count for name in names)} wheels"
        ''',
}
REGISTRATION = """
[nni_count.operations]
conv_5x5 = car_park.operation:conv_5x5
[nni_count.tasks]
Cars = car_park.task:Cars
[nni_count.readers]
car_park = car_park.reader:CarPark
[nni_count.networks]
plain = car_park.network:Plain
[nni_count.losses]
absolute = car_park.loss:Absolute
[nni_count.metrics]
bias = car_park.metric:bias
[nni_count.strategies]
Hasty = car_park.strategy:Hasty
[nni_count.commands]
cars = car_park.command:cars
"""
SMALL = "--crop_size 32 --batch_size 1 --task Cars"


@pytest.fixture
def park(tmp_path, monkeypatch):
    """The package is installed, and there are photographs that its reader reads."""
    files = {f"car_park/{name}": text.replace("\n        ", "\n").lstrip() for name, text in FILES.items()}
    install(tmp_path / "site", monkeypatch, {"car_park/__init__.py": "", **files}, REGISTRATION)
    folder = tmp_path / "park"
    folder.mkdir()
    for number in range(4):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((40, 48, 3), 40 * number, np.uint8))
    (folder / "cars.json").write_text(json.dumps({str(n): [[10.0, 10.0], [30.0, 20.0]] for n in range(4)}))
    return folder


def call(line, capsys):
    code = main(line.split())
    said = capsys.readouterr()
    assert code == 0, said.err
    return said.out


def test_one_of_each_is_searched_retrained_evaluated_and_called(park, tmp_path, capsys):
    layers = [layer for layer in AMSNetSpace(width=16).modules() if isinstance(layer, LayerChoice)]
    assert sum("conv_5x5" in layer.names for layer in layers) > 10
    space = "--space AMSNetSpace --space.width 16 --space.map_stride 4 --strategy Hasty --strategy.haste 3"
    search = f"search --data {park} {SMALL} {space} --max_epochs 1 --limit_train_batches 1 --out {tmp_path}/a"
    assert "written to" in call(search, capsys)
    assert "haste: 3" in (tmp_path / "a" / "config.yaml").read_text()

    train = f"--network plain --network.kernel 5 --loss absolute --max_steps 1 --out {tmp_path}/b"
    assert "validation BIAS" in call(f"retrain --data {park} {SMALL} {train}", capsys)
    file = tmp_path / "b" / "model.safetensors"
    model = load_model(file)
    assert (model.name, model.network.settings["kernel"]) == ("plain", 5)
    assert model.facts["loss"] == {"absolute": {"weight": 1.0}}

    said = call(f"evaluate --model {file} --data {park} --data.floor 2 --out {tmp_path}/c", capsys)
    report = json.loads((tmp_path / "c" / "evaluation.json").read_text())
    assert report["main_metric"] == "bias"
    assert f"BIAS         {report['bias']:.3f}" in said
    assert call(f"cars 0 2 --data {park} --wheels 3", capsys) == "12 wheels\n"


def test_the_helps_tell_of_them(park, capsys):
    assert "\n  cars       Count the wheels of a car park\n" in call("--help", capsys).replace("park.\n", "park\n")
    text = call("cars --help", capsys)
    assert "\n  NAMES ... " in text
    assert "--wheels <whole number> of a car, default 4" in " ".join(text.split())
    text = " ".join(call("search --help", capsys).split())
    assert "Hasty: how great it is, default 2.0" in text
    assert "car_park: only this one, default 0" in text
    text = " ".join(call("retrain --help --network plain --task Cars", capsys).split())
    assert "network plain: A convolution --network" in text
    assert "--task.length <number> of a car, in pixels, default 9.0" in text


def test_a_command_whose_source_is_torn_keeps_no_other_from_its_help(park, monkeypatch, capsys):
    entry = "[nni_count.commands]\ntorn = torn:torn\n"
    install(park.parent / "other_site", monkeypatch, {"torn.py": "def torn(:"}, entry)
    text = call("--help", capsys)
    assert "\n  cars " in text
    assert "\n  torn " in text
    assert "\n  search " in text
    assert main(["bikes"]) == 2
    assert "unknown command 'bikes'; known: demo, search" in (said := capsys.readouterr().err)
    assert "cars" in said


def test_each_is_a_file_and_a_line():
    lines = [line.partition("car_park.")[2] for line in REGISTRATION.splitlines() if "=" in line]
    assert [line.partition(":")[0] for line in lines] == [Path(name).stem for name in FILES]
