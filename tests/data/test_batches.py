import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nni_count.data.batches import CropStream, crop_loader
from nni_count.data.sample import Sample
from nni_count.data.synthetic import synthetic_crowds
from nni_count.errors import SettingError
from nni_count.task import Counting


def stream(samples, **settings):
    return CropStream(samples, Counting(), **{"crop_size": 64, "stride": 1, "seed": 0, **settings})


def marked(points, size):
    image = np.zeros((*size, 3), np.uint8)
    for x, y in points:
        image[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3] = 255
    return Sample("marked", points, lambda: image)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_points_go_where_their_pixels_go(position):
    points = np.array([[150.5, 130.5]])
    image, target = stream([marked(points, (260, 300))], crop_size=128, rotation=40)[position]
    density = target[0].numpy() / 100
    rows, columns = np.mgrid[:128, :128]
    white = image[0].numpy() > 1.8  # black is −2.1, the filled border 0
    x, y = columns[white].mean() if white.any() else 0, rows[white].mean() if white.any() else 0
    if not (16 < x < 112 and 16 < y < 112):
        return  # cut by the border
    assert density.sum() == pytest.approx(1, abs=1e-4)
    assert (density * columns).sum() == pytest.approx(x, abs=0.6)
    assert (density * rows).sum() == pytest.approx(y, abs=0.6)


def test_a_crop_depends_on_seed_and_position_alone():
    samples = synthetic_crowds(5, size=(96, 96))
    first = stream(samples)
    again = [stream(samples)[position] for position in (7, 3)]
    torch.testing.assert_close([first[7], first[3]], again)
    assert not torch.equal(first[3][0], stream(samples, seed=1)[3][0])
    assert not torch.equal(first[3][0], first[8][0])


def test_a_pass_takes_every_image_once():
    samples = [Sample(str(n), np.zeros((0, 2)), lambda n=n: np.full((64, 64, 3), 10 * n, np.uint8)) for n in range(7)]
    crops = stream(samples, rotation=0)
    for turn in (0, 5):
        assert len({round(float(crops[7 * turn + n][0][0, 0, 0]), 4) for n in range(7)}) == 7


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_continues_where_it_was_whatever_the_workers(workers):
    samples = synthetic_crowds(6, size=(64, 64))
    make = lambda: crop_loader(  # noqa: E731
        samples, Counting(), crop_size=32, batch_size=2, stride=4, seed=3, num_workers=workers
    )
    straight = make()
    batches = [batch for _ in range(2) for batch in straight]
    assert len(batches) == 6
    broken = make()
    iterator = iter(broken)
    for expected in batches[:2]:
        torch.testing.assert_close(next(iterator), expected)
    resumed = make()
    resumed.load_state_dict(broken.state_dict())
    rest = [*resumed, *resumed]
    torch.testing.assert_close(rest, batches[2:])


def test_an_image_smaller_than_the_crop_is_filled_up():
    points = np.array([[5.5, 6.5], [20.5, 9.5]])
    image, target = stream([marked(points, (20, 30))], crop_size=64)[0]
    assert image.shape == (3, 64, 64)
    assert target.sum() / 100 == pytest.approx(2, abs=1e-3)


def test_the_cache_keeps_to_its_bound():
    samples = synthetic_crowds(4, size=(64, 64))
    crops = stream(samples, cache_bytes=2 * 64 * 64 * 3)
    for position in range(12):
        crops[position]
    assert len(crops.images.images) == 2


@pytest.mark.parametrize("size", [8, 33])
def test_an_odd_crop_is_refused(size):
    with pytest.raises(SettingError, match="crop_size"):
        stream([], crop_size=size)
