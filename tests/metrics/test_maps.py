import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.image import StructuralSimilarityIndexMeasure

from nni_count.data.density import density_map
from nni_count.metrics.maps import MAP_PROTOCOLS, gathered, map_quality, spread


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 60), st.integers(8, 60), st.integers(0, 2**31), st.sampled_from([1, 2, 4]))
def test_spreading_a_map_keeps_its_sum(height, width, seed, stride):
    points = np.random.default_rng(seed).random((9, 2)) * (width, height)
    coarse = density_map(points, (height, width), stride=stride)
    large = spread(coarse, (height, width))
    assert large.shape == (height, width)
    assert large.sum() == pytest.approx(9, abs=1e-3)


@pytest.mark.parametrize("protocol", MAP_PROTOCOLS)
def test_equal_maps_are_best_by_every_protocol(protocol):
    truth = density_map(np.random.default_rng(0).random((20, 2)) * (50, 40), (40, 50))
    best = map_quality(truth, truth, protocol)
    assert best["psnr"] == 100
    assert best["ssim"] == pytest.approx(1)
    worse = map_quality(np.roll(truth, 7, 1), truth, protocol)
    assert worse["psnr"] < 40
    assert worse["ssim"] < 0.9


def test_what_is_divided_by_what():
    truth = np.zeros((32, 32), np.float32)
    truth[10, 10] = 0.5
    estimate = truth + np.float32(0.05)  # a tenth of the truth's peak everywhere
    assert map_quality(estimate, truth, "truth-peak")["psnr"] == pytest.approx(20, abs=1e-3)
    by_own = 0.05 / 0.55 * np.sqrt(1 - 1 / 32**2)  # at the peak both are 1
    assert map_quality(estimate, truth, "csrnet")["psnr"] == pytest.approx(-20 * np.log10(by_own), abs=1e-3)
    # a factor is no error once each map is divided by its own maximum
    assert map_quality(0.5 * truth, truth, "csrnet")["psnr"] == 100
    assert map_quality(0.5 * truth, truth, "truth-peak")["psnr"] < 40
    assert map_quality(estimate, truth) == map_quality(estimate, truth, "csrnet")


def test_a_coarse_map_is_compared_at_the_size_that_the_protocol_names():
    points = np.random.default_rng(0).random((30, 2)) * (50, 42)
    truth = density_map(points, (42, 50))
    coarse = density_map(points, (42, 50), stride=4)
    np.testing.assert_allclose(gathered(truth, coarse.shape), coarse, atol=1e-5)
    assert map_quality(coarse, truth, "map-size")["psnr"] > 80
    large = map_quality(coarse, truth, "truth-peak")
    assert large == map_quality(spread(coarse, truth.shape), truth, "truth-peak")
    assert large["psnr"] < 40


def test_ssim_is_torchmetrics_of_the_window_that_is_named():
    rng = np.random.default_rng(0)
    truth, estimate = rng.random((2, 30, 40)).astype(np.float32)
    truth /= truth.max()
    estimate /= estimate.max()
    expected = StructuralSimilarityIndexMeasure(kernel_size=11, sigma=1.5, data_range=1.0, gaussian_kernel=True)
    value = expected(torch.from_numpy(estimate)[None, None], torch.from_numpy(truth)[None, None])
    assert map_quality(estimate, truth)["ssim"] == pytest.approx(value.item(), abs=1e-6)


@pytest.mark.parametrize("protocol", MAP_PROTOCOLS)
@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (11, 3), (20, 20)])
@pytest.mark.parametrize("estimated", [0.0, 1.0, -1.0])
def test_degenerate_maps_have_defined_values(protocol, shape, estimated):
    estimate, nobody, somebody = np.full(shape, estimated, np.float32), np.zeros(shape), np.zeros(shape)
    somebody[0, 0] = 1
    assert map_quality(estimate, nobody, protocol) is None
    assert all(np.isfinite(value) for value in map_quality(estimate, somebody, protocol).values())


def test_faults_are_named():
    assert spread(np.zeros((2, 2), np.float32), (8, 8)).sum() == 0
    with pytest.raises(ValueError, match="not larger"):
        map_quality(np.ones((3, 3)), np.ones((2, 2)))
    with pytest.raises(KeyError, match="'psnr' is unknown; known: csrnet, truth-peak, map-size"):
        map_quality(np.ones((2, 2)), np.ones((2, 2)), "psnr")
