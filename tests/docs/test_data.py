"""The page on data names every reader and setting, and its code does what it says."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from nni_count.data import READERS, SYNTHETIC, known_settings
from nni_count.data.density import BORDERS
from nni_count.training.settings import Augmentation

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text()


@pytest.mark.parametrize("name", [*READERS, *SYNTHETIC])
def test_every_reader_and_its_settings_are_named(name):
    assert re.search(rf"^\| `(--data )?{name}` \|", PAGE, re.MULTILINE)
    for setting in known_settings({**READERS, **SYNTHETIC}[name]):
        assert f"`{setting}`" in PAGE


def test_borders_and_augmentations_are_named():
    assert all(f"| `{border}` |" in PAGE for border in BORDERS)
    assert all(f"--augmentation.{field.name}" in PAGE for field in dataclasses.fields(Augmentation))


def test_the_density_maps_are_as_they_are_said_to_be():
    made: dict = {}
    exec(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], made)
    assert all(made[name].sum() == pytest.approx(3, abs=1e-4) for name in ("fixed", "quarter", "adaptive"))
    np.testing.assert_allclose(made["quarter"], made["fixed"].reshape(12, 4, 16, 4).sum((1, 3)), atol=1e-6)
