"""Synthetic images as data sets."""

import numpy as np
import pytest

from nni_count.data import open_data
from nni_count.data.synthetic.sets import SyntheticCells, SyntheticCrowds
from nni_count.errors import SettingError


@pytest.mark.parametrize(
    "data",
    [
        SyntheticCrowds(train=4, test=3, size=64),
        SyntheticCrowds(train=4, test=3, size=64, level="hard"),
        SyntheticCells(train=4, test=3),
    ],
    ids=lambda data: data.name,
)
def test_parts_have_their_own_images(data):
    train, test = data.samples("train"), data.samples("test")
    assert (len(train), len(test)) == (4, 3)
    assert len({sample.name for sample in [*train, *test]}) == 7
    assert len({sample.points.tobytes() for sample in [*train, *test]}) == 7


def test_by_name():
    assert open_data("synthetic", train=2, size=64).samples("train")[0].read().shape == (64, 64, 3)
    assert open_data("synthetic", level="hard", train=1).samples("train")[0].read().shape == (512, 512, 3)
    assert open_data("synthetic-cells", train=2).samples("train")[0].read().shape == (256, 256, 3)
    easy, hard = (
        open_data("synthetic", level=level, size=64, train=1).samples("train")[0] for level in ("easy", "hard")
    )
    assert not np.array_equal(easy.points, hard.points)


def test_training_images_cannot_reach_the_test_images():
    with pytest.raises(SettingError, match="2000000 training images"):
        SyntheticCells(train=2_000_000)
    with pytest.raises(SettingError, match="-1 test images"):
        SyntheticCells(test=-1)
    with pytest.raises(SettingError, match="'brutal' is unknown"):
        open_data("synthetic", level="brutal")


@pytest.mark.parametrize("name", ["synthetic", "synthetic-cells"])
@pytest.mark.parametrize("setting", ["train", "test", "seed"])
def test_a_setting_of_another_type_is_named(name, setting):
    with pytest.raises(SettingError, match=rf"data.{setting}: 'many'; give a whole number"):
        open_data(name, **{setting: "many"})
