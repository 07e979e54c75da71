import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nni_count.data.density import density_map
from nni_count.errors import NNICountError


@st.composite
def scenes(draw):
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    number = draw(st.integers(0, 30))
    seed = draw(st.integers(0, 2**32 - 1))
    points = np.random.default_rng(seed).random((number, 2)) * (width, height)
    if draw(st.booleans()):  # whole numbers lie on the borders of pixels, and some points coincide
        points = np.floor(points)
        points[: number // 2] = points[:1] if number else points[:0]
    return points, (height, width)


@settings(max_examples=150, deadline=None)
@given(scenes(), st.floats(0.3, 20), st.integers(1, 40), st.sampled_from([1, 2, 3, 4, 8]))
def test_the_map_sums_to_the_number_of_points(scene, sigma, kernel_size, stride):
    points, shape = scene
    density = density_map(points, shape, sigma=sigma, kernel_size=kernel_size, stride=stride)
    assert density.shape == (-(-shape[0] // stride), -(-shape[1] // stride))
    assert abs(density.sum(dtype=np.float64) - len(points)) <= 1e-4 * max(1, len(points))
    assert (density >= 0).all()


@settings(max_examples=60, deadline=None)
@given(scenes(), st.sampled_from([2, 4, 5]))
def test_a_coarse_map_is_the_block_sums_of_the_full_one(scene, stride):
    points, (height, width) = scene
    full = density_map(points, (height, width)).astype(np.float64)
    full = np.pad(full, ((0, -height % stride), (0, -width % stride)))
    blocks = full.reshape(full.shape[0] // stride, stride, full.shape[1] // stride, stride).sum((1, 3))
    np.testing.assert_allclose(density_map(points, (height, width), stride=stride), blocks, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(scenes())
def test_flips_and_quarter_turns_commute_with_the_map(scene):
    points, (height, width) = scene
    points = np.clip(points, 1e-3, np.array([width, height]) - 1e-3)
    density = density_map(points, (height, width))
    flipped = np.stack([width - points[:, 0], points[:, 1]], 1)
    np.testing.assert_allclose(density_map(flipped, (height, width)), density[:, ::-1], atol=1e-5)
    turned = np.stack([points[:, 1], width - points[:, 0]], 1)
    np.testing.assert_allclose(density_map(turned, (width, height)), np.rot90(density), atol=1e-5)


def test_a_head_stays_where_it_is():
    rows, columns = np.mgrid[:40, :60] + 0.5
    density = density_map(np.array([[30.25, 17.5]]), (40, 60))
    assert (density * columns).sum() == pytest.approx(30.25, abs=0.01)
    assert (density * rows).sum() == pytest.approx(17.5, abs=0.01)
    peak = np.unravel_index(density_map(np.array([[0.5, 39.5]]), (40, 60)).argmax(), (40, 60))
    assert peak == (39, 0)  # a head at the border is not moved inward


def test_the_kernel_is_the_gaussian_that_was_asked_for():
    density = density_map(np.array([[50.5, 50.5]]), (101, 101), sigma=5, kernel_size=61)
    assert density[50, 50] == pytest.approx(1 / (2 * np.pi * 25), rel=0.01)
    assert density[50, 60] / density[50, 50] == pytest.approx(np.exp(-100 / 50), rel=0.01)
    assert (density_map(np.array([[50.5, 50.5]]), (101, 101), kernel_size=15) > 0).sum() == 225


def test_points_outside_are_left_out_and_nonsense_is_refused():
    assert density_map(np.array([[-1.0, 5], [5, 5], [10, 5]]), (10, 10)).sum() == pytest.approx(1)
    with pytest.raises(NNICountError, match="NaN"):
        density_map(np.array([[np.nan, 1]]), (10, 10))
    with pytest.raises(NNICountError, match="sigma"):
        density_map(np.zeros((0, 2)), (10, 10), sigma=0)
