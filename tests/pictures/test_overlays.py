"""Maps over their photos."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nni_count.pictures.overlays import blend, overlay


def photo(height=240, width=320):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def changed(image, result):
    """Rows and columns ``(top, bottom, left, right)`` of what differs."""
    rows, columns = np.nonzero((image != result).any(2))
    return rows.min(), rows.max(), columns.min(), columns.max()


@pytest.mark.parametrize("density", [np.zeros((240, 320)), np.full((30, 40), -0.1), np.full((240, 320), np.nan)])
def test_without_people_only_the_caption_changes_the_photo(density):
    image = photo()
    result = overlay(image, density, 0.0)
    top, bottom, left, right = changed(image, result)
    assert (bottom - top + 1) * (right - left + 1) < 0.05 * 240 * 320
    assert top == 0 or bottom == 239
    assert left == 0 or right == 319


def test_heat_is_where_the_people_are_and_the_caption_where_they_are_not():
    image = np.full((240, 320, 3), 128, np.uint8)
    density = np.zeros((240, 320), np.float32)
    density[:120, :160] = 20 / (120 * 160)  # the corner where a caption would otherwise stand
    result = overlay(image, density, 20.0)
    difference = np.abs(result.astype(int) - image).sum(2)
    assert (difference[:120, :160] > 30).all()
    assert (difference > 0).sum() < 120 * 160 + 0.05 * 240 * 320


def test_a_smaller_map_is_enlarged_and_negative_values_change_nothing():
    image = np.full((240, 320, 3), 128, np.uint8)
    small = np.zeros((60, 80), np.float32)
    small[30, 40] = 1
    negative = np.where(small > 0, small, -1).astype(np.float32)
    np.testing.assert_array_equal(overlay(image, small, 1.0), overlay(image, negative, 1.0))
    assert overlay(image, small, 1.0)[122, 162].tolist() != [128, 128, 128]


def test_a_map_of_almost_nothing_does_not_glow():
    image = np.full((240, 320, 3), 128, np.uint8)
    result = overlay(image, np.full((240, 320), 1e-9, np.float32), 0.0)
    assert np.median(np.abs(result.astype(int) - image)) <= 2


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 120),
    width=st.integers(1, 120),
    stride=st.sampled_from([1, 2, 4]),
    count=st.floats(-10, 1e6) | st.just(float("nan")),
    seed=st.integers(0, 100),
)
def test_overlay_keeps_shape_and_its_input(height, width, stride, count, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    density = rng.normal(0, 0.01, (-(-height // stride), -(-width // stride)))
    before = image.copy(), density.copy()
    result = overlay(image, density, count)
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(density, before[1])


def test_the_caption_grows_with_the_image():
    heights = []
    for scale in (1, 4):
        image = np.full((240 * scale, 320 * scale, 3), 255, np.uint8)
        top, bottom, _, _ = changed(image, overlay(image, np.zeros((24, 32)), 12.0))
        heights.append(bottom - top + 1)
    assert 3 < heights[1] / heights[0] < 5


@pytest.mark.parametrize(
    "values", [np.zeros((24, 32)), np.full((24, 32), np.nan), np.linspace(0, 1, 768).reshape(24, 32)]
)
def test_any_map_can_be_blended_into_its_photo(values):
    image = photo()
    before = image.copy()
    result = blend(image, values, "a caption")
    assert (result.shape, result.dtype) == (image.shape, np.uint8)
    np.testing.assert_array_equal(image, before)
    assert (blend(image, values) != result).any()
