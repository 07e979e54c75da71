import numpy as np
import pytest

from nni_count.data.density import density_map
from nni_count.metrics import METRICS
from nni_count.metrics.counts import game, intervals, mae, mae_by_density, nae, rmse


def test_count_errors_by_hand():
    counts = np.array([10.0, 20, 33]), np.array([12, 20, 30])
    assert mae(*counts) == pytest.approx(5 / 3)
    assert rmse(*counts) == pytest.approx(np.sqrt(13 / 3))
    assert nae(*counts) == pytest.approx((2 / 12 + 0 + 3 / 30) / 3)


@pytest.mark.parametrize("name", METRICS)
def test_no_images_have_no_errors(name):
    with pytest.raises(ValueError, match="at least one"):
        METRICS[name](np.array([]), np.array([]))
    with pytest.raises(ValueError, match="found 2 and 1"):
        METRICS[name](np.ones(2), np.ones(1))


def test_images_without_people_are_left_out_of_the_relative_error_alone():
    counts = np.array([5.0, 20]), np.array([0.0, 10])
    assert mae(*counts) == 7.5
    assert nae(*counts) == pytest.approx(1)
    assert nae(np.array([5.0]), np.array([0.0])) is None


def test_density_bins_hold_every_image_once():
    truths = np.array([0, 1, 100, 101, 500, 501, 5000, 5001.0])
    found = mae_by_density(truths + np.arange(8), truths)
    assert {name: row["images"] for name, row in found.items()} == {
        "0": 1,
        "1–100": 2,
        "101–500": 2,
        "501–5000": 2,
        ">5000": 1,
    }
    assert [row["mae"] for row in found.values()] == [0, 1.5, 3.5, 5.5, 7]
    assert list(mae_by_density(np.ones(2), np.full(2, 60.0))) == ["1–100"]


def test_game_counts_errors_where_they_are():
    points = np.array([[2.0, 2.0], [30.0, 2.0]])
    density = np.zeros((32, 32))
    density[2, 2] = 2  # the second person was seen beside the first
    found = game(density, points)
    assert found["game0"] == 0
    assert found["game1"] == found["game3"] == pytest.approx(2)
    assert game(density, points, (0,)).keys() == {"game0"}


def test_a_map_that_is_right_everywhere_has_no_error_on_any_level():
    points = np.array([[50.5, 5.5], [3.5, 30.5], [3.5, 30.5], [60.5, 40.5]])  # no part's border within a pixel
    density = np.zeros((47, 61))
    np.add.at(density, (points[:, 1].astype(int), points[:, 0].astype(int)), 1)
    assert list(game(density, points).values()) == [0, 0, 0, 0]


def test_game_rises_with_its_level_and_ends_at_the_count():
    rng = np.random.default_rng(0)
    points = rng.random((40, 2)) * (61, 47)
    density = density_map(rng.random((30, 2)) * (61, 47), (47, 61))
    found = list(game(density, points).values())
    assert found[0] == pytest.approx(10, abs=1e-3)
    assert found == sorted(found)


@pytest.mark.parametrize("shape", [(1, 1), (3, 20)])
def test_game_of_maps_smaller_than_its_grid_is_defined(shape):
    found = game(np.zeros(shape), np.array([[0.5, 0.5], [shape[1], shape[0]]]))
    assert all(value == 2 for value in found.values())
    assert all(value == 0 for value in game(np.zeros(shape), np.zeros((0, 2))).values())


def test_intervals_hold_the_figure_and_are_the_same_again():
    rng = np.random.default_rng(1)
    truths = rng.integers(10, 100, 60).astype(float)
    estimates = truths + rng.normal(0, 10, 60)
    found = intervals(estimates, truths)
    for figure in (mae, rmse):
        low, high = found[f"{figure.__name__}_interval"]
        assert low < figure(estimates, truths) < high
    assert found == intervals(estimates, truths)
    # of normal errors the MAE's standard error is σ √(1 − 2/π) / √N
    width = found["mae_interval"][1] - found["mae_interval"][0]
    assert width == pytest.approx(2 * 1.96 * 10 * np.sqrt((1 - 2 / np.pi) / 60), rel=0.4)


def test_intervals_of_one_image_and_of_equal_errors():
    assert intervals(np.array([3.0]), np.array([2.0])) == {"mae_interval": None, "rmse_interval": None}
    assert intervals(np.full(5, 3.0), np.full(5, 2.0))["mae_interval"] == [1, 1]
