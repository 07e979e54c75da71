"""Synthetic crowds: what a user relies on is that points are exact, and images the same everywhere."""

import hashlib
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nni_count.data import synthetic
from nni_count.data.synthetic import synthetic_crowds
from nni_count.errors import SettingError

FINGERPRINT = """
import hashlib
from nni_count.data import synthetic
from nni_count.data.synthetic import synthetic_crowds
digest = hashlib.sha256()
for sample in synthetic_crowds(3, seed=7, start=2):
    digest.update(sample.points.tobytes() + sample.read().tobytes())
print(digest.hexdigest())
"""


def test_same_in_another_process():
    digest = hashlib.sha256()
    for sample in synthetic_crowds(3, seed=7, start=2):
        digest.update(sample.points.tobytes() + sample.read().tobytes())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", FINGERPRINT]
    other = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert other.stdout.strip() == digest.hexdigest()


def test_an_image_does_not_depend_on_how_many_are_asked_for():
    many, one = synthetic_crowds(4, seed=3), synthetic_crowds(1, seed=3, start=2)
    assert one[0].name == many[2].name
    np.testing.assert_array_equal(one[0].points, many[2].points)
    np.testing.assert_array_equal(one[0].read(), many[2].read())


def test_reading_twice_and_in_a_worker_gives_the_same_image():
    sample = synthetic_crowds(1, seed=5)[0]
    first = sample.read()
    first[:] = 0  # a caller may write into what it was given
    np.testing.assert_array_equal(sample.read(), pickle.loads(pickle.dumps(sample)).read())
    assert sample.read().any()


def test_seeds_and_numbers_differ():
    samples = [*synthetic_crowds(3, seed=0), *synthetic_crowds(3, seed=1)]
    assert len({sample.name for sample in samples}) == 6
    assert len({sample.points.tobytes() for sample in samples}) == 6
    assert len({sample.read().tobytes() for sample in samples}) == 6


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.tuples(st.integers(32, 200), st.integers(32, 200)),
    fewest=st.integers(0, 40),
    more=st.integers(0, 60),
)
def test_points_and_image_keep_their_promises(seed, size, fewest, more):
    sample = synthetic_crowds(1, seed=seed, size=size, people=(fewest, fewest + more))[0]
    assert fewest <= sample.count <= fewest + more
    assert sample.points.shape == (sample.count, 2)
    assert sample.points.dtype == np.float64
    assert (sample.points >= 0).all()
    assert (sample.points < (size[1], size[0])).all()
    image = sample.read()
    assert image.shape == (*size, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous


def test_counts_spread_over_the_whole_range():
    counts = np.array([sample.count for sample in synthetic_crowds(300)])
    assert counts.min() <= 8
    assert counts.max() >= 250
    # evenly in the logarithm: the middle lies at the geometric mean of 5 and 300, about 39
    assert 25 < np.median(counts) < 60


def test_heads_do_not_hide_one_another_wholly():
    for sample in synthetic_crowds(30, seed=2):
        distance = np.linalg.norm(sample.points[:, None] - sample.points[None], axis=2)
        np.fill_diagonal(distance, np.inf)
        assert distance.min() > 1


def test_heads_are_painted_where_the_points_are(monkeypatch):
    """To a fraction of a pixel: the middle of a head that is painted alone is its point."""

    def head(rng, scene):
        return [(synthetic.CIRCLE[None] * (1, 1.28), np.full((1, 3), 255.0), np.ones(1, bool))]

    monkeypatch.setattr(synthetic, "_body_parts", head)
    checked = 0
    for seed in range(30):
        scene = synthetic._draw_scene(np.random.default_rng(seed), (256, 256), (1, 1))
        point, reach = scene.points[0], 2 * scene.radius[0]
        if (point - reach < 0).any() or (point + reach > 256).any():
            continue  # cut off by the border
        black = np.zeros((256, 256, 3), np.uint8)
        painted = synthetic._paint_people(np.random.default_rng(seed), scene, black)[:, :, 0].astype(float)
        y, x = np.indices(painted.shape) + 0.5
        middle = np.array([(x * painted).sum(), (y * painted).sum()]) / painted.sum()
        np.testing.assert_allclose(middle, point, atol=0.2)
        checked += 1
    assert checked > 10


def test_counting_needs_more_than_the_mean_colour():
    """Neither brightness nor contrast tells the count."""
    samples = synthetic_crowds(50, seed=6, size=(64, 64))
    images = np.stack([sample.read() for sample in samples]).astype(float)
    counts = np.log([sample.count for sample in samples])
    for statistic in (images.mean((1, 2, 3)), images.std((1, 2, 3))):
        assert abs(np.corrcoef(statistic, counts)[0, 1]) < 0.7


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"number": -1}, "number -1"),
        ({"seed": -2}, "seed -2"),
        ({"start": -3}, "start -3"),
        ({"size": (16, 256)}, r"size \(16, 256\)"),
        ({"people": (9, 3)}, r"people \(9, 3\)"),
        ({"people": (-1, 3)}, r"people \(-1, 3\)"),
    ],
)
def test_impossible_settings_are_named(arguments, named):
    with pytest.raises(SettingError, match=named):
        synthetic_crowds(**{"number": 1, **arguments})


def test_no_samples():
    assert synthetic_crowds(0) == []
