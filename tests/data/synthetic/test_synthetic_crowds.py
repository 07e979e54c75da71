"""Synthetic crowds: what a user relies on is that points are exact, and images the same everywhere."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import synthetic_cells, synthetic_crowds

from nni_count.data.synthetic import LEVELS, CellStream, CrowdStream
from nni_count.data.synthetic.dense import cover_map, draw_dense_scene, hidden
from nni_count.data.synthetic.obstacles import AMONG_PEOPLE, IN_FRONT
from nni_count.data.synthetic.paint import CIRCLE
from nni_count.data.synthetic.people import Part, paint_people
from nni_count.data.synthetic.scene import Obstacle, draw_scene
from nni_count.errors import SettingError

FINGERPRINT = """
import hashlib
from nni_count.data.synthetic import LEVELS, CellStream, CrowdStream
digest = hashlib.sha256()
streams = [CrowdStream(7, level, size=(96, 128), people=(5, 300)) for level in LEVELS]
for stream in [*streams, CellStream(7, size=(96, 128))]:
    for sample in stream.take(2, start=2):
        digest.update(sample.points.tobytes() + sample.read().tobytes())
"""

#: image 2 of seed 7 at 64 × 64: its count, its first points, and the means of its 8 × 8 blocks
FIRST_COUNT = 16
FIRST_POINTS = [(5.883653147, 24.793139863), (10.383030515, 25.657358935), (4.998155308, 27.771417057)]
FIRST_BLOCKS = [
    [139.8, 132.6, 94.1, 100.4, 108.1, 110.9, 141.3, 180.5],
    [59.1, 69.5, 99.2, 105.0, 111.6, 116.9, 141.9, 159.2],
    [57.7, 65.5, 110.9, 123.7, 140.8, 121.0, 146.8, 134.6],
    [79.3, 75.8, 124.4, 136.6, 122.0, 118.3, 145.1, 126.5],
    [95.6, 77.5, 116.6, 148.5, 117.7, 131.8, 97.8, 130.2],
    [103.0, 72.8, 106.0, 82.9, 78.9, 114.3, 101.3, 93.6],
    [69.0, 96.4, 120.6, 148.7, 78.1, 114.1, 93.8, 141.5],
    [65.8, 92.9, 160.0, 131.5, 63.1, 124.8, 118.0, 115.8],
]

STREAMS = [*(CrowdStream(3, level, size=(64, 96)) for level in LEVELS), CellStream(3, size=(64, 96), cells=(3, 30))]


def test_same_in_another_process():
    here: dict = {}
    exec(FINGERPRINT, here)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "5"}
    command = [sys.executable, "-c", FINGERPRINT + "print(digest.hexdigest())"]
    other = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert other.stdout.strip() == here["digest"].hexdigest()


def test_easy_images_are_those_of_the_first_release():
    """The demonstration relies on them. Another OpenCV may round otherwise, so block means are compared."""
    sample = synthetic_crowds(1, seed=7, start=2, size=(64, 64))[0]
    assert sample.name == "synthetic-7-00002"
    assert sample.count == FIRST_COUNT
    np.testing.assert_allclose(sample.points[:3], FIRST_POINTS, atol=1e-6)
    blocks = sample.read().reshape(8, 8, 8, 8, 3).mean((1, 3, 4))
    np.testing.assert_allclose(blocks, FIRST_BLOCKS, atol=2)


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_streams(stream):
    """An image depends on its number alone, not on how many are asked for, on reading before or on the process."""
    first = list(islice(stream, 3))  # a stream has no end
    again = stream[2]
    assert again.name == first[2].name
    np.testing.assert_array_equal(again.points, first[2].points)
    before, image = first[2].points.copy(), first[2].read()
    np.testing.assert_array_equal(again.read(), image)
    image[:] = 0  # a caller may write into what it was given
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(first[2])).read(), again.read())
    assert again.read().any()
    np.testing.assert_array_equal(first[2].points, before)
    assert len({sample.name for sample in first}) == 3
    assert len({sample.points.tobytes() for sample in first}) == 3
    with pytest.raises(IndexError, match="number -1"):
        stream[-1]


def test_seeds_and_levels_differ():
    samples = [CrowdStream(seed, level, size=(64, 64))[0] for level in LEVELS for seed in (0, 1)]
    assert len({sample.name for sample in samples}) == 6
    assert len({sample.points.tobytes() for sample in samples}) == 6
    assert len({sample.read().tobytes() for sample in samples}) == 6


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    level=st.sampled_from(list(LEVELS)),
    size=st.tuples(st.integers(32, 200), st.integers(32, 200)),
    fewest=st.integers(0, 40),
    more=st.integers(0, 60),
)
def test_points_and_image_keep_their_promises(seed, level, size, fewest, more):
    sample = synthetic_crowds(1, seed=seed, size=size, people=(fewest, fewest + more), level=level)[0]
    assert fewest <= sample.count <= fewest + more
    assert sample.points.shape == (sample.count, 2)
    assert sample.points.dtype == np.float64
    assert (sample.points >= 0).all()
    assert (sample.points < (size[1], size[0])).all()
    image = sample.read()
    assert image.shape == (*size, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous


@pytest.mark.parametrize("level", LEVELS)
def test_counts_spread_over_the_whole_range(level):
    fewest, most = LEVELS[level].people
    counts = np.array([sample.count for sample in synthetic_crowds(70, level=level, size=(128, 128))])
    assert counts.min() <= 2.5 * fewest
    assert counts.max() >= 0.6 * most
    middle = np.sqrt(fewest * most)  # evenly in the logarithm
    assert 0.6 * middle < np.median(counts) < 1.6 * middle


def test_as_many_people_as_asked_for_find_room():
    assert synthetic_crowds(1, level="hard", people=(2000, 2000), size=(64, 64))[0].count == 2000


def test_heads_do_not_hide_one_another_wholly():
    for sample in synthetic_crowds(30, seed=2):
        assert _nearest(sample.points).min() > 1


@pytest.mark.parametrize("level", ["medium", "hard"])
def test_heads_of_denser_crowds_can_be_told_apart_and_seen(level):
    smallest, largest, obstacles = [], [], 0
    for seed in range(15):
        scene = _dense(seed, level)
        radius = (scene.points[:, 1] - scene.horizon) * scene.growth
        assert (_nearest(scene.points) > 0.5 * radius).all()
        assert not hidden(scene.points, radius, cover_map(scene.size, scene.obstacles)).any()
        smallest.append(2 * radius.min())
        largest.append(2 * radius.max())
        obstacles += len(scene.obstacles)
    assert min(smallest) < 6  # pixels, as far away in ShanghaiTech A
    assert max(largest) > 30
    assert obstacles > 10


@pytest.mark.parametrize("make", [row[0] for row in (*AMONG_PEOPLE, *IN_FRONT)], ids=lambda make: make.__name__)
def test_obstacles_are_convex_and_near_their_place(make):
    """OpenCV paints convex polygons only, and the map of what is covered relies on the same polygons."""
    rng = np.random.default_rng(0)
    view = replace(_dense(0, "hard"), obstacles=())
    place = () if make in [row[0] for row in IN_FRONT] else (256.0, 400.0)
    for _ in range(5):
        for polygon, colour in make(rng, view, *place):
            assert colour.shape == (3,)
            step = np.roll(polygon, -1, 0) - polygon
            cross = step[:, 0] * np.roll(step[:, 1], -1) - step[:, 1] * np.roll(step[:, 0], -1)
            assert (cross >= -1e-6).all() or (cross <= 1e-6).all()
            if place:
                assert np.abs(polygon - place).max() < 30 * view.radius_at(place[1])


def test_who_is_hidden():
    """A board in line with heads at a height of 60 hides those behind it, not those before or beside it."""
    board = Obstacle(60.0, [(np.array([(10.0, 10), (50, 10), (50, 90), (10, 90)]), np.zeros(3))])
    cover = cover_map((100, 100), (board,))
    points = np.array([(30.0, 30), (30, 80), (70, 30), (48, 30), (53, 30)])
    assert hidden(points, np.full(5, 3.0), cover).tolist() == [True, False, False, True, False]


def test_heads_are_painted_where_the_points_are():
    """To a fraction of a pixel: the middle of a head that is painted alone is its point."""

    def head(rng, scene):
        return [Part(CIRCLE[None] * (1, 1.28), np.full((1, 3), 255.0), np.ones(1, bool))]

    checked = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        dense = seed % 2 == 0
        scene = draw_dense_scene(rng, (256, 256), (1, 1), 0.0) if dense else draw_scene(rng, (256, 256), (1, 1))
        point, reach = scene.points[0], 2 * scene.radius[0]
        if (point - reach < 0).any() or (point + reach > 256).any():
            continue  # cut off by the border
        black = np.zeros((256, 256, 3), np.uint8)
        painted = paint_people(rng, scene, black, head)[:, :, 0].astype(float)
        y, x = np.indices(painted.shape) + 0.5
        middle = np.array([(x * painted).sum(), (y * painted).sum()]) / painted.sum()
        np.testing.assert_allclose(middle, point, atol=0.2)
        checked += 1
    assert checked > 10


def test_obstacles_come_before_those_behind_them():
    board = Obstacle(128.0, [(np.array([(0.0, 0), (256, 0), (256, 256), (0, 256)]), np.full(3, 77.0))])
    scene = replace(
        _dense(0, "hard"), size=(256, 256), points=np.array([(50.0, 100), (150, 150)]), radius=np.full(2, 9.0)
    )

    def heads(rng, scene):
        return [Part(CIRCLE[None], np.full((2, 3), 255.0), np.ones(2, bool))]

    black = np.zeros((256, 256, 3), np.uint8)
    painted = paint_people(np.random.default_rng(0), replace(scene, obstacles=(board,)), black, heads)
    assert (painted[100, 50] == 77).all()
    assert (painted[150, 150] > 77).all()


def test_counting_needs_more_than_the_mean_colour():
    """Neither brightness nor contrast tells the count."""
    for level in LEVELS:
        samples = synthetic_crowds(40, seed=6, size=(64, 64), people=(5, 300), level=level)
        images = np.stack([sample.read() for sample in samples]).astype(float)
        counts = np.log([sample.count for sample in samples])
        for statistic in (images.mean((1, 2, 3)), images.std((1, 2, 3))):
            assert abs(np.corrcoef(statistic, counts)[0, 1]) < 0.7


def test_harder_images_are_grey_and_dark_at_times():
    samples = synthetic_crowds(50, size=(64, 64), people=(5, 20), level="hard")
    images = np.stack([sample.read() for sample in samples]).astype(int)
    grey = (np.ptp(images, 3).max((1, 2)) <= 2).mean()
    assert 0.03 < grey < 0.4
    assert np.quantile(images.mean((1, 2, 3)), 0.1) < 75
    assert np.quantile(images.mean((1, 2, 3)), 0.9) > 120


@pytest.mark.parametrize("make", [synthetic_crowds, synthetic_cells])
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"number": -1}, "number -1"),
        ({"seed": -2}, "seed -2"),
        ({"start": -3}, "start -3"),
        ({"size": (16, 256)}, r"size \(16, 256\)"),
        ({"range": (9, 3)}, r" \(9, 3\)"),
        ({"range": (-1, 3)}, r" \(-1, 3\)"),
    ],
)
def test_impossible_settings_are_named(make, arguments, named):
    arguments = {"number": 1, **arguments}
    if "range" in arguments:
        arguments["people" if make is synthetic_crowds else "cells"] = arguments.pop("range")
    with pytest.raises(SettingError, match=named):
        make(**arguments)


def test_unknown_level():
    with pytest.raises(SettingError, match=r"'brutal' is unknown; choose easy, medium, hard"):
        synthetic_crowds(1, level="brutal")


def test_no_samples():
    assert synthetic_crowds(0) == []


def _nearest(points: np.ndarray) -> np.ndarray:
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    return distance.min(1)


def _dense(seed: int, level: str):
    settings = LEVELS[level]
    return draw_dense_scene(np.random.default_rng(seed), settings.size, settings.people, settings.strength)
