import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nni_count.data.density import density_map
from nni_count.metrics import count_errors, map_quality, spread


def test_count_errors_by_hand():
    errors = count_errors(np.array([10.0, 20, 33]), np.array([12.0, 20, 30]))
    assert errors["mae"] == pytest.approx(5 / 3)
    assert errors["rmse"] == pytest.approx(np.sqrt(13 / 3))
    with pytest.raises(ValueError, match="at least one"):
        count_errors(np.array([]), np.array([]))


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 60), st.integers(8, 60), st.integers(0, 2**31), st.sampled_from([1, 2, 4]))
def test_spreading_a_map_keeps_its_sum(height, width, seed, stride):
    points = np.random.default_rng(seed).random((9, 2)) * (width, height)
    coarse = density_map(points, (height, width), stride=stride)
    large = spread(coarse, (height, width))
    assert large.shape == (height, width)
    assert large.sum() == pytest.approx(9, abs=1e-3)


def test_map_quality_by_hand():
    truth = np.zeros((32, 32), np.float32)
    truth[10, 10] = 0.5
    estimate = truth + np.float32(0.05)  # a tenth of the peak everywhere: 20 dB
    assert map_quality(estimate, truth)["psnr"] == pytest.approx(20, abs=1e-3)
    perfect = map_quality(truth, truth)
    assert perfect["psnr"] == 100
    assert perfect["ssim"] == pytest.approx(1)
    assert map_quality(np.zeros_like(truth), truth)["ssim"] < perfect["ssim"]


def test_degenerate_maps_have_defined_values():
    assert map_quality(np.ones((20, 20), np.float32), np.zeros((20, 20), np.float32)) is None
    assert np.isnan(map_quality(np.ones((1, 1), np.float32), np.ones((1, 1), np.float32))["ssim"])
    assert spread(np.zeros((2, 2), np.float32), (8, 8)).sum() == 0
    with pytest.raises(ValueError, match="one shape"):
        map_quality(np.ones((2, 2)), np.ones((3, 3)))
