from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from nni_count.data.adaptive import adaptive_sigma
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


def spread(number, low, high):
    """Settings that differ from point to point."""
    return low * (high / low) ** (np.arange(number) % 7 / 6)


policies = st.sampled_from(["inside", "reflect"])


@settings(max_examples=150, deadline=None)
@given(scenes(), st.floats(0.3, 20), st.none() | st.integers(1, 40), policies, st.sampled_from([1, 2, 3, 4, 8]))
def test_the_map_sums_to_the_number_of_points(scene, sigma, kernel_size, border, stride):
    points, shape = scene
    density = density_map(points, shape, sigma=sigma, kernel_size=kernel_size, border=border, stride=stride)
    assert density.shape == (-(-shape[0] // stride), -(-shape[1] // stride))
    assert density.dtype == np.float32
    assert abs(density.sum(dtype=np.float64) - len(points)) <= 1e-4 * max(1, len(points))
    assert (density >= 0).all()


@settings(max_examples=60, deadline=None)
@given(scenes(), st.floats(0.5, 60), policies, st.sampled_from([1, 4]))
def test_the_map_sums_to_the_number_of_points_whatever_the_kernel_of_each(scene, most, border, stride):
    points, shape = scene
    for sigma in (spread(len(points), 0.4, most), adaptive_sigma(points)):
        density = density_map(points, shape, sigma=sigma, border=border, stride=stride)
        assert abs(density.sum(dtype=np.float64) - len(points)) <= 1e-4 * max(1, len(points))


@settings(max_examples=60, deadline=None)
@given(scenes(), policies, st.lists(st.integers(0, 90), max_size=3), st.lists(st.integers(0, 90), max_size=3))
def test_any_partition_into_crops_sums_to_the_number_of_points(scene, border, across, down):
    points, (height, width) = scene
    columns = [0, *sorted(x for x in across if 0 < x < width), width]
    rows = [0, *sorted(y for y in down if 0 < y < height), height]
    total = sum(
        density_map(points - (left, top), (bottom - top, right - left), border=border).sum(dtype=np.float64)
        for left, right in pairwise(columns)
        for top, bottom in pairwise(rows)
        if right > left and bottom > top
    )
    assert abs(total - len(points)) <= 1e-4 * max(1, len(points))


@settings(max_examples=60, deadline=None)
@given(scenes(), st.sampled_from([2, 4, 5]), st.sampled_from(["inside", "reflect", "cut"]), st.booleans())
def test_a_coarse_map_is_the_block_sums_of_the_full_one(scene, stride, border, adaptive):
    points, (height, width) = scene
    kernel = {"sigma": adaptive_sigma(points) if adaptive else 4.0, "border": border}
    full = density_map(points, (height, width), **kernel).astype(np.float64)
    full = np.pad(full, ((0, -height % stride), (0, -width % stride)))
    blocks = full.reshape(full.shape[0] // stride, stride, full.shape[1] // stride, stride).sum((1, 3))
    np.testing.assert_allclose(density_map(points, (height, width), stride=stride, **kernel), blocks, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(scenes(), st.sampled_from(["inside", "reflect", "cut"]), st.booleans())
def test_flips_and_quarter_turns_commute_with_the_map(scene, border, adaptive):
    points, (height, width) = scene
    points = np.clip(points, 1e-3, np.array([width, height]) - 1e-3)

    def density(points, shape):
        return density_map(points, shape, sigma=adaptive_sigma(points) if adaptive else 4.0, border=border)

    straight = density(points, (height, width))
    flipped = np.stack([width - points[:, 0], points[:, 1]], 1)
    np.testing.assert_allclose(density(flipped, (height, width)), straight[:, ::-1], atol=1e-5)
    turned = np.stack([points[:, 1], width - points[:, 0]], 1)
    np.testing.assert_allclose(density(turned, (width, height)), np.rot90(straight), atol=1e-5)


def test_the_map_follows_a_point_without_a_jump():
    for border in ("inside", "reflect", "cut"):
        maps = [density_map(np.array([[x, 9.3]]), (20, 40), border=border) for x in np.arange(0, 40, 0.05)]
        assert max(abs(after - before).max() for before, after in pairwise(maps)) < 3e-4


def test_a_head_stays_where_it_is():
    rows, columns = np.mgrid[:40, :60] + 0.5
    density = density_map(np.array([[30.25, 17.5]]), (40, 60))
    assert (density * columns).sum() == pytest.approx(30.25, abs=0.01)
    assert (density * rows).sum() == pytest.approx(17.5, abs=0.01)
    peak = np.unravel_index(density_map(np.array([[0.5, 39.5]]), (40, 60)).argmax(), (40, 60))
    assert peak == (39, 0)  # a head at the border is not moved inward


def test_coincident_points_add_up():
    once = density_map(np.array([[7.5, 9.0]]), (20, 20))
    np.testing.assert_allclose(density_map(np.array([[7.5, 9.0]] * 3), (20, 20)), 3 * once, rtol=1e-6)


def test_the_kernel_is_the_gaussian_that_was_asked_for():
    density = density_map(np.array([[50.5, 50.5]]), (101, 101), sigma=5, kernel_size=61)
    assert density[50, 50] == pytest.approx(1 / (2 * np.pi * 25), rel=0.01)
    assert density[50, 60] / density[50, 50] == pytest.approx(np.exp(-100 / 50), rel=0.01)
    middle = np.array([[50.5, 50.5]])
    assert (density_map(middle, (101, 101)) > 0).sum() == 225  # 15×15, as in the paper's reference
    assert (density_map(middle, (101, 101), sigma=np.array([4.0])) > 0).sum() == 25**2  # 3 σ to each side
    assert (density_map(middle, (101, 101), sigma=np.array([4.0]), kernel_size=np.array([7])) > 0).sum() == 49


@pytest.mark.parametrize(("border", "mode"), [("reflect", "reflect"), ("cut", "constant")])
def test_a_border_is_what_scipy_calls_so(border, mode):
    points = np.array([[0, 0], [3, 1], [47, 20], [20, 29], [25, 15]]) + 0.5
    dots = np.zeros((30, 48))
    for x, y in points.astype(int):
        dots[y, x] += 1
    expected = gaussian_filter(dots, 3, mode=mode, truncate=5)  # sampled; ours is integrated over pixels
    density = density_map(points, (30, 48), sigma=3, kernel_size=31, border=border)
    np.testing.assert_allclose(density, expected, rtol=0.015, atol=2e-4)
    assert density.sum() == pytest.approx(5 if border == "reflect" else expected.sum(), abs=0.01)


def test_kernels_of_many_sizes_are_those_of_each_head_alone():
    rng = np.random.default_rng(0)
    points = rng.random((40, 2)) * (70, 50)
    sigma = np.exp(rng.uniform(np.log(0.5), np.log(30), 40))
    one_by_one = sum(
        density_map(point[None], (50, 70), sigma=float(s), kernel_size=6 * s)
        for point, s in zip(points, sigma, strict=True)
    )
    np.testing.assert_allclose(density_map(points, (50, 70), sigma=sigma), one_by_one, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(scenes(), st.sampled_from(["inside", "reflect", "cut"]), st.sampled_from([1, 4]), st.booleans())
def test_a_tensor_gives_the_same_map_as_an_array(scene, border, stride, adaptive):
    points, shape = scene
    tensor = torch.from_numpy(points).float()
    sigma, of_tensor = (adaptive_sigma(points), adaptive_sigma(tensor)) if adaptive else (4.0, 4.0)
    expected = density_map(points, shape, sigma=sigma, border=border, stride=stride)
    density = density_map(tensor, shape, sigma=of_tensor, border=border, stride=stride)
    assert isinstance(density, torch.Tensor)
    assert density.dtype == torch.float32
    np.testing.assert_allclose(density.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("border", ["inside", "reflect", "cut"])
def test_nothing_is_made_elsewhere_than_where_the_points_are(border):
    """Shown without a GPU: what is made where no device is said is of another kind and does not go with the points."""
    points = torch.rand(50, 2) * 40
    sigma = adaptive_sigma(points)
    expected = [density_map(points, (40, 40), sigma=one, border=border, stride=4) for one in (4.0, sigma)]
    with torch.device("meta"):
        found = [density_map(points, (40, 40), sigma=one, border=border, stride=4) for one in (4.0, sigma)]
    torch.testing.assert_close(found, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_tensor_on_a_gpu_stays_there():
    points = torch.rand(500, 2) * torch.tensor([200, 150])
    for sigma in (4.0, adaptive_sigma(points)):
        density = density_map(points.cuda(), (150, 200), sigma=sigma if sigma == 4.0 else sigma.cuda(), stride=4)
        assert density.is_cuda
        torch.testing.assert_close(density.cpu(), density_map(points, (150, 200), sigma=sigma, stride=4))


@pytest.mark.parametrize("nobody", [[], np.zeros((0, 2)), np.zeros((0, 0)), torch.zeros(0, 2)])
def test_nobody_is_an_empty_map(nobody):
    assert density_map(nobody, (9, 12), sigma=adaptive_sigma(nobody)).shape == (9, 12)
    assert not density_map(nobody, (9, 12)).any()


def test_points_outside_are_left_out():
    points = np.array([[-1.0, 5], [5, 5], [10, 5]])
    assert density_map(points, (10, 10)).sum() == pytest.approx(1)
    np.testing.assert_array_equal(
        density_map(points, (10, 10), sigma=np.array([1.0, 2, 3])),
        density_map(points[1:2], (10, 10), sigma=np.array([2.0])),
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"points": [[np.nan, 1]]}, "a point is NaN or infinite; mend the annotation"),
        ({"points": np.ones((4, 3))}, r"points have the shape \(4, 3\), expected \(N, 2\)"),
        ({"points": np.ones(2)}, r"points have the shape \(2,\)"),
        ({"sigma": 0}, "sigma 0 must be positive"),
        ({"sigma": np.inf}, "sigma inf"),
        ({"sigma": np.array([1.0, -1])}, "sigma .* must be positive"),
        ({"sigma": np.array([1.0])}, r"sigma has the shape \(1,\) for 2 points"),
        ({"kernel_size": -3}, "kernel_size"),
        ({"stride": 0}, "stride 0"),
        ({"border": "wrap"}, "border 'wrap' is unknown; choose inside, reflect, cut"),
    ],
)
def test_nonsense_is_refused(settings, message):
    with pytest.raises(NNICountError, match=message):
        density_map(**{"points": np.ones((2, 2)), "shape": (10, 10), **settings})


def test_adaptive_sigma_is_beta_times_the_mean_distance_to_three_neighbours():
    points = np.array([[0, 0], [10, 0], [0, 20], [30, 0], [90, 90]], float)
    sigma = adaptive_sigma(points)
    assert sigma[0] == pytest.approx(0.3 * (10 + 20 + 30) / 3)
    assert adaptive_sigma(points, beta=0.1, neighbours=1)[0] == pytest.approx(0.1 * 10)


def test_adaptive_sigma_of_few_points_and_of_duplicates():
    assert adaptive_sigma(np.zeros((0, 2))).shape == (0,)
    assert adaptive_sigma(np.array([[5.0, 5]])) == [15]
    np.testing.assert_allclose(adaptive_sigma(np.array([[0.0, 0], [20, 0]])), [6, 6])
    np.testing.assert_allclose(adaptive_sigma(np.array([[0.0, 0], [20, 0], [40, 0]])), [9, 6, 9])
    np.testing.assert_allclose(adaptive_sigma(np.full((9, 2), 3.0)), 1)  # σ is 0, the limit says 1
    np.testing.assert_allclose(adaptive_sigma(np.array([[0.0, 0], [0, 0], [10, 0], [20, 0]]))[0], 0.3 * 30 / 3)
    np.testing.assert_allclose(adaptive_sigma(np.array([[0.0, 0], [900, 0]])), 50)
    np.testing.assert_allclose(adaptive_sigma(np.array([[0.0, 0], [900, 0]]), limits=(2, 300)), 270)


@pytest.mark.parametrize(
    "settings",
    [
        {"beta": 0},
        {"neighbours": 0},
        {"limits": (5, 1)},
        {"limits": (0, 1)},
        {"alone": 0},
        {"points": [[np.inf, 0]]},
        {"points": np.ones((4, 3))},
    ],
)
def test_nonsense_is_refused_for_adaptive_kernels_too(settings):
    with pytest.raises(NNICountError, match=r"adaptive kernels|expected \(N, 2\)"):
        adaptive_sigma(**{"points": np.ones((3, 2)), **settings})
