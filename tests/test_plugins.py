"""What other packages add: found by its name once it is installed, imported when it is asked for."""

import sys

import pytest
from installed import install

from nni_count.data import open_data
from nni_count.errors import SettingError
from nni_count.losses import LOSSES, create_loss
from nni_count.networks import create

CODE = """
from torch import nn

from nni_count.data import Dataset
from nni_count.networks.hand_designed import HandDesigned


class Absolute(nn.Module):
    def forward(self, estimate, target):
        return (estimate - target).abs().mean()


class Single(HandDesigned):
    multiple, map_stride = 1, 1

    def __init__(self, in_channels=3, out_channels=1, kernel=3):
        super().__init__(in_channels, out_channels, kernel=kernel)
        self.layer = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)

    def forward(self, image):
        return self.layer(image)


class Dots(Dataset):
    layout = "a folder with dots.mine"
    splits = ("train",)

    @staticmethod
    def recognises(root):
        return (root / "dots.mine").is_file()

    def read(self, split):
        return []
"""

ENTRIES = """
[nni_count.losses]
absolute = other_package:Absolute
torn = other_package:Nothing
[nni_count.networks]
single = other_package:Single
[nni_count.readers]
dots_mine = other_package:Dots
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package that adds a loss, a network and a reader."""
    install(tmp_path / "site", monkeypatch, {"other_package.py": CODE}, ENTRIES)


def test_a_loss_a_network_and_a_reader_of_another_package_are_used_by_name(installed, tmp_path):
    assert {*LOSSES} >= {"mse", "absolute"}
    assert "other_package" not in sys.modules
    assert create_loss({"absolute": 2}).settings == {"absolute": {"weight": 2.0}}
    assert create("single", kernel=5).settings["kernel"] == 5
    with pytest.raises(SettingError, match=r"network single: unknown setting 'size'; known: .*kernel"):
        create("single", size=5)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "dots.mine").touch()
    assert type(open_data(tmp_path / "set")).__name__ == "Dots"


def test_what_another_package_promises_and_has_not_is_said(installed):
    with pytest.raises(SettingError, match=r"losses torn: other_package:Nothing cannot be loaded .*other_package\.py"):
        create_loss("torn")


def test_a_line_adds_one_without_a_package(monkeypatch):
    monkeypatch.setitem(LOSSES, "mine", LOSSES["mse"])
    assert create_loss("mine").settings == {"mine": {"weight": 1.0}}
