import numpy as np
import pytest
from conftest import random_architecture
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nni_count.data.density import density_map
from nni_count.data.images import read_image
from nni_count.data.origin import Origin
from nni_count.errors import SettingError
from nni_count.model import Model
from nni_count.networks import create
from nni_count.tasks.classes import CountingClasses
from nni_count.tasks.counting import Counting
from nni_count.tasks.peaks import peaks
from nni_count.tasks.task import Task


def apart(number, size, distance, seed=0):
    """Points no two of which are nearer than a distance."""
    rng, points = np.random.default_rng(seed), []
    while len(points) < number:
        new = rng.random(2) * size
        if all(np.hypot(*(new - other)) > distance for other in points):
            points.append(new)
    return np.array(points)


@pytest.mark.parametrize("noise", [0, 0.003])
@pytest.mark.parametrize("stride", [2, 4])
def test_people_who_stand_apart_are_a_point_each_where_they_stand(stride, noise):
    for number in (1, 7, 30):
        people = apart(number, (404, 301), 20)
        density = density_map(people, (301, 405), sigma=4, kernel_size=15, stride=stride)
        density += noise * stride**2 / 16 * np.random.default_rng(1).normal(size=density.shape).astype(np.float32)
        points, mass = peaks(density)
        assert len(points) == max(1, round(float(density.sum())))
        assert mass.sum() == pytest.approx(float(density.sum()), rel=1e-5)
        far = np.hypot(*(people[:, None] - stride * points[None]).transpose(2, 0, 1))
        if not noise:
            assert far.min(1).max() < stride
            np.testing.assert_allclose(mass, 1, atol=0.02)
        assert np.mean(far.min(1) < stride) >= 0.9


def test_a_large_map_is_seen_in_blocks_with_the_same_points(monkeypatch):
    draw = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(8, 600, 16), np.arange(8, 400, 16)), -1).reshape(-1, 2)  # on the seams too
    density = density_map(grid + draw.uniform(-4, 4, grid.shape), (400, 600), sigma=3, kernel_size=15)
    whole, mass = peaks(density)
    monkeypatch.setattr("nni_count.tasks.peaks.BLOCK", 64)
    monkeypatch.setattr("nni_count.tasks.peaks.AROUND", 16)
    points, shares = peaks(density)
    np.testing.assert_array_equal(points, whole)
    np.testing.assert_allclose(shares, mass, atol=0.02)  # a valley between two may be divided elsewhere
    assert len(points) == len(grid)
    assert shares.sum() == pytest.approx(float(density.sum(dtype=np.float64)), rel=1e-9)


@settings(max_examples=150, deadline=None)
@given(arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(-1, 3, width=16)))
def test_shares_sum_to_the_count_of_any_map(density):
    points, mass = peaks(density)
    count = float(density.sum(dtype=np.float64))
    assert mass.sum() == pytest.approx(max(0, count), abs=1e-9)
    assert len(points) == len(mass) <= max(1, round(max(0, count)))
    assert (mass > 0).all()
    assert (points >= 0).all()
    assert (points <= density.shape[::-1]).all()
    assert bool(len(points)) == (count > 0)


def test_what_a_dropped_maximum_holds_goes_across_the_highest_pass():
    density = np.zeros((3, 12))
    density[1] = [0, 0.9, 0.4, 0.5, 0.1, 0.6, 0, 0, 0, 0.2, 0, 0]
    points, mass = peaks(density)
    assert points[:, 0].astype(int).tolist() == [1, 5, 9]  # the fourth is a ripple of the first
    density *= 2 / density.sum()
    points, mass = peaks(density)
    assert points[:, 0].astype(int).tolist() == [1, 5]
    heights = density[1]
    assert mass[0] == pytest.approx(heights[1:4].sum(), abs=heights[4] + heights[9])  # the third lies across its pass
    assert mass.sum() == pytest.approx(2)


class Photo(Task):
    """A task that counts nothing."""

    main_metric = "error"

    def target(self, sample, shape, stride):
        return np.zeros((1, *shape), np.float32)

    def measure(self, estimate, sample, shape):
        return {"error": 0.0}


def model_of(task, max_side=None):
    architecture = random_architecture(3)
    network = create("amsnet", architecture, out_channels=task.out_channels)
    origin = None if max_side is None else Origin("", {"max_side": max_side}, {})
    return Model(network, "amsnet", architecture, task, origin=origin)


class Seen(Model):
    """A model that estimates what is given."""

    def map(self, image, views=1):
        return self.estimate


def seen(task, estimate, max_side=None):
    other = model_of(task, max_side)
    found = Seen(other.network, "amsnet", other.architecture, task, origin=other.origin)
    found.estimate = np.asarray(estimate, np.float32)
    return found


def test_a_model_tells_where_they_are_in_the_pixels_of_the_image(tmp_path):
    model = model_of(Counting())
    model.network.up_sampling.second.bias.data += 2  # an untrained one might count nobody
    image = np.random.default_rng(0).integers(0, 256, (45, 70, 3), np.uint8)
    points, mass = model.points(image)
    assert points.shape == (len(mass), 2)
    assert mass.sum() == pytest.approx(model.count(image), rel=1e-5)
    assert len(mass) == min(round(model.count(image)), len(mass))
    stride = model.network.map_stride
    estimate = np.zeros((1, -(-45 // stride), -(-70 // stride)))
    estimate[0, 3, -1] = estimate[0, -1, 2] = 1  # in cells that reach beyond the image
    for side, factor in ((None, 1), (70, 1), (7, 1)):
        points, mass = seen(Counting(), estimate, side).points(image)
        assert ((points >= 0) & (points < (70, 45))).all(), (side, factor)
    points, _ = seen(Counting(), estimate[:, :, : -(-35 // stride)], 35).points(np.zeros((90, 70, 3), np.uint8))
    assert (points < (70, 90)).all()
    assert points[:, 1].max() > 40  # scaled back


def test_a_photo_that_is_turned_has_its_points_where_viewers_show_them(tmp_path):
    from PIL import Image

    image = Image.fromarray(np.zeros((40, 64, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg", oriented=True).shape[:2] == (64, 40)
    model = seen(Counting(), np.zeros((1, 1, 1)))
    stride = model.network.map_stride
    model.estimate = np.zeros((1, -(-64 // stride), -(-40 // stride)), np.float32)
    model.estimate[0, -2, 1] = 1
    points, _ = model.points(tmp_path / "turned.jpg")
    np.testing.assert_allclose(points, [[1.5 * stride, 64 - 1.5 * stride]], atol=stride / 2)


def test_several_kinds_have_points_each_and_what_counts_nothing_has_none():
    task = CountingClasses(classes=("car", "van"))
    model = seen(task, np.zeros((2, 8, 8)))
    model.estimate[0, 2, 2], model.estimate[1, 5, 5], model.estimate[1, 1, 7] = 1, 1, 2
    image, stride = np.zeros((8 * model.network.map_stride, 8 * model.network.map_stride, 3), np.uint8), 0
    stride = model.network.map_stride
    points, mass = model.points(image)
    assert (len(points), mass.tolist()) == (3, [1, 2, 1])
    points, mass = model.points(image, label="car")
    np.testing.assert_allclose(points, [[2.5 * stride] * 2])
    with pytest.raises(SettingError, match="label: 'bus' is unknown; CountingClasses counts car, van"):
        model.points(image, label="bus")
    with pytest.raises(SettingError, match="points: the model's task, Photo, counts nothing"):
        model_of(Photo()).points(image)
