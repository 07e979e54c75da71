"""Synthetic cells: every cell has its point, every point its cell."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import synthetic_cells

from nni_count.data.synthetic import cells


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.tuples(st.integers(32, 150), st.integers(32, 150)),
    fewest=st.integers(0, 40),
    more=st.integers(0, 60),
)
def test_points_and_image_keep_their_promises(seed, size, fewest, more):
    sample = synthetic_cells(1, seed=seed, size=size, cells=(fewest, fewest + more))[0]
    assert fewest <= sample.count <= fewest + more
    assert sample.points.shape == (sample.count, 2)
    assert sample.points.dtype == np.float64
    assert (sample.points >= 0).all()
    assert (sample.points < (size[1], size[0])).all()
    image = sample.read()
    assert image.shape == (*size, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous


def test_counts_are_spread_evenly_over_those_of_the_vgg_set():
    counts = np.array([sample.count for sample in synthetic_cells(200)])
    assert counts.min() < 85
    assert counts.max() > 305
    assert abs(counts.mean() - (74 + 317) / 2) < 20


def test_every_point_has_its_cell():
    """Cells that lie apart are as many as the points, and each one's middle is its point."""
    x, y = np.meshgrid(np.arange(20.3, 240, 30), np.arange(20.8, 180, 30))
    points = np.stack([x.ravel(), y.ravel()], 1)
    slide = cells._Slide((200, 260), 6.0, points)
    light = cells._light_of_cells(np.random.default_rng(1), slide)
    number, _, _, middles = cv2.connectedComponentsWithStats((light > 0.15).astype(np.uint8))
    assert number - 1 == len(points)  # the first is the ground
    offsets = middles[1:, None] + 0.5 - points[None]  # (cells, points, 2)
    nearest = np.linalg.norm(offsets, axis=2).argmin(1)
    offsets = offsets[np.arange(len(offsets)), nearest]
    assert sorted(nearest) == list(range(len(points)))
    assert np.abs(offsets).max() < 1  # cells are not quite round
    np.testing.assert_allclose(offsets.mean(0), 0, atol=0.1)
    assert len(cells._cells(np.random.default_rng(1), slide, points % 1, 16)) == len(points)


def test_cells_can_be_told_apart_and_shine_where_the_points_are():
    for seed in range(20):
        slide = cells._draw_slide(np.random.default_rng(seed), (256, 256), (74, 317))
        distance = np.linalg.norm(slide.points[:, None] - slide.points[None], axis=2)
        np.fill_diagonal(distance, np.inf)
        assert distance.min() > 0.39 * slide.radius
        column, row = slide.points.astype(int).T
        light = cells._light_of_cells(np.random.default_rng(seed), slide)
        assert light[row, column].min() > 0.25


def test_light_adds_up_and_goes_on_beyond_the_border():
    slide = cells._Slide((64, 64), 6.0, np.array([(30.5, 30.5), (30.5, 30.5)]))
    both = cells._light_of_cells(np.random.default_rng(0), slide)
    assert both.max() > 1
    corner = cells._light_of_cells(np.random.default_rng(0), replace(slide, points=np.array([(0.0, 0.0)])))
    assert corner[0, 0] > 0.25
    assert corner[40:, 40:].max() == 0
    assert not cells._light_of_cells(np.random.default_rng(0), replace(slide, points=np.zeros((0, 2)))).any()


def test_like_the_vgg_set(real_data):
    """Brightness of the three channels and its spread lie within those of the genuine images."""
    genuine = [cv2.imread(str(path))[:, :, ::-1] for path in sorted((real_data / "vgg_cells").glob("*cell.png"))[:20]]
    made = [sample.read() for sample in synthetic_cells(20)]
    for channel in range(3):
        ours, theirs = (np.stack(images)[..., channel].astype(float) for images in (made, genuine))
        assert ours.mean() == pytest.approx(theirs.mean(), abs=25)
        assert ours.std() == pytest.approx(theirs.std(), abs=25)
