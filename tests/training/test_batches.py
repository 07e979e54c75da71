import pickle
from dataclasses import fields, replace
from itertools import islice
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import synthetic_crowds

from nni_count.data import open_data
from nni_count.data.headers import image_size
from nni_count.data.pixels import MEAN, STD, normalise
from nni_count.data.sample import Sample
from nni_count.errors import SettingError
from nni_count.tasks.classes import CountingClasses
from nni_count.tasks.counting import Counting
from nni_count.training.batches import WholeImages, crop_loader
from nni_count.training.crops import CropStream, Window
from nni_count.training.datamodule import TrainingData
from nni_count.training.settings import Augmentation, Crops

# fewer cores than workers are enough for a test
pytestmark = pytest.mark.filterwarnings("ignore:.*will create 2 worker processes")


def divided(settings):
    """Those of ``Crops`` together, the others beside them."""
    own = {field.name for field in fields(Crops)} & settings.keys()
    return {"crops": Crops(**{name: settings.pop(name) for name in own}), **settings}


def stream(samples, **settings):
    return CropStream(samples, Counting(), **divided({"size": 64, "stride": 1, "seed": 0, **settings}))


def loader(samples, **settings):
    return crop_loader(
        samples, Counting(), **divided({"size": 32, "batch_size": 2, "stride": 4, "seed": 3, **settings})
    )


def marked(points, size):
    image = np.zeros((*size, 3), np.uint8)
    for x, y in points:
        image[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3] = 255
    return Sample("marked", points, lambda: image)


def counting_reads(samples):
    """The same samples, and a list that grows when an image is decoded."""
    reads = []

    def read(sample):
        reads.append(sample.name)
        return sample.read()

    return [replace(sample, read=lambda sample=sample: read(sample)) for sample in samples], reads


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(1, 1), (0.5, 0.8), (1.5, 2)]), st.sampled_from([0, 1]))
def test_points_go_where_their_pixels_go(position, scale, points_share):
    points = np.array([[150.5, 130.5]])
    augmentation = Augmentation(rotation=40, scale=scale, points_share=points_share)
    image, target = stream([marked(points, (260, 300))], size=128, augmentation=augmentation)[position]
    density = target[0] / 100
    rows, columns = np.mgrid[:128, :128] + 0.5
    grey = image[:, :, 0].astype(float) * (np.abs(image[:, :, 0] - 124.0) > 3)  # the filled border has 124
    white = grey > 127
    x, y = columns[white].mean() if white.any() else 0, rows[white].mean() if white.any() else 0
    if not (16 < x < 112 and 16 < y < 112):
        return  # cut by the border
    assert density.sum() == pytest.approx(1, abs=1e-4)
    assert (density * columns).sum() == pytest.approx(x, abs=0.6)
    assert (density * rows).sum() == pytest.approx(y, abs=0.6)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 10_000), st.sampled_from([(1, 1), (0.5, 2)]))
def test_a_crop_that_is_drawn_where_people_are_has_somebody(seed, position, scale):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(20, 400, 2)
    # a few people in a corner, and some outside, as a reader may keep them
    points = np.concatenate([rng.random((3, 2)) * (width, height) * 0.1, rng.random((3, 2)) * -90])
    sample = Sample("corner", points, lambda: np.zeros((height, width, 3), np.uint8))
    crops = stream([sample], augmentation=Augmentation(rotation=180, scale=scale, points_share=1))
    assert crops[position][1].sum() / 100 > 0.999


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(1, 1), (0.5, 2)]), st.booleans())
def test_points_that_come_with_a_crop_are_those_of_its_map(position, scale, quarter_turns):
    """Through rotations, scales, flips and turns, each in its pixel, also on a pixel's edge and beyond the image."""
    rng = np.random.default_rng(position)
    points = np.concatenate([rng.random((40, 2)) * (150, 100), rng.integers(0, 100, (40, 2))])
    sample = Sample("", points, lambda: np.zeros((100, 150, 3), np.uint8))
    augmentation = Augmentation(rotation=30 if position % 2 else 0, scale=scale, quarter_turns=quarter_turns)
    crops = stream([sample], augmentation=augmentation, with_points=True)
    image, target, (inside,) = crops[position]
    assert inside.dtype == np.float32
    assert (inside >= 0).all()
    assert (inside < 64).all()
    np.testing.assert_allclose(Counting().target(Sample("", inside, None), (64, 64), 1), target, atol=1e-3)
    without = stream([sample], augmentation=augmentation)[position]
    np.testing.assert_array_equal(without[0], image)
    np.testing.assert_array_equal(without[1], target)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_batch_numbers_its_points_by_crop_and_class(num_workers):
    labels = np.array(["a", "b", "b", "c"])
    images = {"many": 3 * np.ones((4, 2)), "none": np.zeros((0, 2))}
    samples = [
        Sample(name, points, lambda: np.zeros((32, 32, 3), np.uint8), labels=labels[: len(points)])
        for name, points in images.items()
    ]
    task, crops = CountingClasses(classes=("a", "b")), Crops(32, 2, Augmentation(rotation=0), num_workers=num_workers)
    ((_, targets, points),) = crop_loader(samples, task, crops, stride=4, seed=0, with_points=True)
    counts = task.estimate(targets, 4).sum((2, 3)).flatten().round()
    assert torch.bincount(points[:, 0].long(), minlength=4).tolist() == counts.tolist()
    assert sorted(counts.tolist()) == [0, 0, 1, 2]
    nobody = crop_loader(samples[1:], task, Crops(32, 1), stride=4, seed=0, with_points=True)
    assert next(iter(nobody))[2].shape == (0, 3)
    assert len(next(iter(crop_loader(samples, task, crops, stride=4, seed=0)))) == 2


def test_half_of_the_crops_can_be_drawn_where_people_are():
    sample = marked(np.array([[10.0, 10.0]]), (1500, 1500))
    crops = stream([sample], augmentation=Augmentation(rotation=0, points_share=0.5))
    people = sum(crops[position][1].sum() > 50 for position in range(200))
    assert 75 < people < 125


def test_scale_enlarges():
    image = np.zeros((400, 400, 3), np.uint8)
    image[:, ::20] = 255  # a line every 20 pixels
    crops = stream(
        [Sample("lines", np.zeros((0, 2)), lambda: image)],
        size=128,
        augmentation=Augmentation(rotation=0, scale=(2, 2)),
    )
    middle = crops[0][0][64, :, 0].astype(float)
    peaks = np.flatnonzero((middle > 60) & (middle >= np.roll(middle, 1)) & (middle > np.roll(middle, -1)))
    assert set(np.diff(peaks)) <= {39, 40, 41}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_a_point_on_a_pixel_edge_is_in_a_crop_exactly_when_its_pixel_is(position, quarter_turns):
    points = np.random.default_rng(0).permutation(120 * 90)[:900]
    points = np.stack([points % 120, points // 120], 1).astype(float)
    image = np.zeros((90, 120, 3), np.uint8)
    image[tuple(points.astype(int).T[::-1])] = 255
    augmentation = Augmentation(rotation=0, quarter_turns=quarter_turns)
    crop, target = stream([Sample("", points, lambda: image)], size=16, augmentation=augmentation)[position]
    assert target.sum() / 100 == pytest.approx((crop == 255).all(2).sum(), abs=1e-3)


def test_enlargements_are_spread_evenly_over_their_range():
    zooms = []

    class Watched(Counting):
        def target(self, sample, shape, stride):
            zooms.append(sample.zoom)
            return super().target(sample, shape, stride)

    image = marked(np.zeros((0, 2)), (300, 300))
    crops = CropStream([image], Watched(), Crops(64, augmentation=Augmentation(scale=(0.5, 2))), stride=4, seed=0)
    for position in range(200):
        crops[position]
    assert 0.5 <= min(zooms) < 0.55
    assert 1.9 < max(zooms) <= 2
    assert 0.4 < np.mean(np.array(zooms) < 1) < 0.6  # of the logarithm


@settings(max_examples=30, deadline=None)
@given(st.floats(-3, 3), st.integers(20, 200), st.integers(-60, 60))
def test_a_window_keeps_the_people_inside_it(angle, span, left):
    """Those who are given to a crop are those whose pixels it shows."""
    points = np.random.default_rng(span).random((200, 2)) * 300 - 50
    window = Window(left, 20, span, 64, angle)
    moved = window.move(points)
    inside = ((moved >= 0) & (moved < 64)).all(1)
    cos, sin = np.cos(angle), np.sin(angle)
    towards = (points - (left + span / 2, 20 + span / 2)) @ np.array([[cos, -sin], [sin, cos]])
    np.testing.assert_array_equal(inside, ((towards >= -span / 2) & (towards < span / 2)).all(1))


def test_a_crop_depends_on_seed_and_position_alone():
    samples = synthetic_crowds(5, size=(96, 96))
    augmentation = Augmentation(scale=(0.7, 1.4), points_share=0.5)
    first = stream(samples, augmentation=augmentation)
    again = [stream(samples, augmentation=augmentation)[position] for position in (7, 3)]
    for one, other in zip([first[7], first[3]], again, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    assert (first[3][0] != stream(samples, augmentation=augmentation, seed=1)[3][0]).any()
    assert (first[3][0] != first[8][0]).any()


def test_a_pass_takes_every_image_once():
    samples = [Sample(str(n), np.zeros((0, 2)), lambda n=n: np.full((64, 64, 3), 10 * n, np.uint8)) for n in range(7)]
    crops = stream(samples, augmentation=Augmentation(rotation=0))
    for turn in (0, 5):
        assert len({int(crops[7 * turn + n][0][0, 0, 0]) for n in range(7)}) == 7


def test_an_adaptive_kernel_knows_the_neighbours_outside_the_crop():
    points = np.array([[32.0, 32.0], [72.0, 32.0]])
    density = Counting(beta=0.3).target(marked(points, (64, 64)), (64, 64), 1)[0] / 100
    assert density.sum() == pytest.approx(1, abs=1e-4)
    assert density.max() == pytest.approx(1 / (2 * np.pi * 12**2), rel=0.02)  # 0.3 × 40; one who is alone has 15
    given = []

    class Watched(Counting):
        def target(self, sample, shape, stride):
            given.append(len(sample.points))
            return super().target(sample, shape, stride)

    crops = CropStream([marked(points, (100, 100))], Watched(), Crops(16), stride=1, seed=0)
    assert any(crops[position][1].sum() == 0 for position in range(9))
    assert set(given) == {2}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_continues_where_it_was_whatever_the_workers(workers):
    samples = synthetic_crowds(6, size=(64, 64))
    straight = loader(samples)
    batches = [batch for _ in range(3) for batch in straight]
    assert len(batches) == 9
    broken = loader(samples, num_workers=workers)
    iterator = iter(broken)
    for expected in batches[:2]:
        torch.testing.assert_close(next(iterator), expected, rtol=0, atol=0)
    resumed = loader(samples, num_workers=workers)
    resumed.load_state_dict(broken.state_dict())
    rest = [*resumed, *resumed, *resumed]
    torch.testing.assert_close(rest, batches[2:], rtol=0, atol=0)
    torch.testing.assert_close([*broken], batches[2:3], rtol=0, atol=0)  # the same workers, begun anew


def test_every_epoch_draws_other_crops():
    samples = synthetic_crowds(6, size=(64, 64))
    for batches in (loader(samples), loader(samples, limit_batches=1)):
        epochs = [list(batches) for _ in range(3)]
        assert len({images.numpy().tobytes() for epoch in epochs for images, _ in epoch}) == 3 * len(epochs[0])


def test_a_batch_is_laid_out_for_the_network():
    images, targets = next(iter(loader(synthetic_crowds(4, size=(64, 64)))))
    assert images.shape == (2, 3, 32, 32)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert targets.shape == (2, 1, 8, 8)
    assert (images.dtype, targets.dtype) == (torch.float32, torch.float32)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=3), st.booleans())
def test_normalising(shape, flipped):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    image = image[..., ::-1, :] if flipped else image
    expected = np.moveaxis((image / 255 - MEAN) / STD, -1, -3)
    np.testing.assert_allclose(normalise(image).numpy(), expected, atol=1e-5)


def test_an_image_smaller_than_the_crop_is_filled_up():
    points = np.array([[5.5, 6.5], [20.5, 9.5]])
    image, target = stream([marked(points, (20, 30))])[0]
    assert image.shape == (64, 64, 3)
    assert target.sum() / 100 == pytest.approx(2, abs=1e-3)
    assert abs(normalise(image)).min(dim=0).values.median() < 0.02  # most of it is filled, and 0 for the network


@pytest.mark.parametrize("workers", [0, 2])
def test_a_set_larger_than_the_cache_still_trains(workers):
    samples = synthetic_crowds(5, size=(64, 64))
    bounded = loader(samples, cache_bytes=2 * 64 * 64 * 3 + 99, num_workers=workers)
    unbounded = loader(samples)
    torch.testing.assert_close([*bounded, *bounded], [*unbounded, *unbounded], rtol=0, atol=0)
    assert 1 <= len(bounded.dataset.images) <= 2
    assert bounded.dataset.images.nbytes == len(bounded.dataset.images) * 64 * 64 * 3


def test_an_image_is_decoded_once_and_those_beyond_the_bound_each_time():
    size = 64 * 64 * 3
    samples, reads = counting_reads(synthetic_crowds(4, size=(64, 64)))
    crops = stream(samples, cache_bytes=4 * size)
    for position in range(12):
        crops[position]
    assert sorted(reads) == sorted(sample.name for sample in samples)
    samples, reads = counting_reads(synthetic_crowds(4, size=(64, 64)))
    crops = stream(samples, cache_bytes=3 * size + 5)
    for position in range(12):
        crops[position]
    assert len(crops.images) == 3
    assert len(reads) == 3 + 3  # one image three times
    samples, reads = counting_reads(synthetic_crowds(2, size=(64, 64)))
    crops = stream(samples, cache_bytes=0)
    for position in range(4):
        crops[position]
    assert len(reads) == 4


def test_processes_that_cannot_share_the_cache_keep_its_bound_together():
    batches = loader(synthetic_crowds(4, size=(64, 64)), cache_bytes=1000, num_workers=2)
    assert pickle.loads(ForkingPickler.dumps(batches.dataset.images)).limit == 500


def test_workers_share_what_they_have_decoded(tmp_path):
    """Files, since lists of other processes are not seen here."""
    samples = synthetic_crowds(8, size=(64, 64))

    def read(sample):
        with open(tmp_path / sample.name, "a") as file:
            file.write("read\n")
        return sample.read()

    watched = [replace(sample, read=lambda sample=sample: read(sample)) for sample in samples]
    batches = loader(watched, num_workers=2)
    for _ in range(6):
        list(batches)
    reads = [len(path.read_text().splitlines()) for path in tmp_path.iterdir()]
    assert len(reads) == 8
    assert sum(reads) <= 10  # without sharing nearly 16; two may begin the same image at once
    assert len(batches.dataset.images) == 8


def test_shanghaitech_a_fits_the_default_cache(real_data):
    dataset = open_data(real_data / "shanghaitech" / "part_A_final")
    pixels = sum(np.prod(image_size(sample.path)) for sample in dataset.samples("all"))
    assert 3 * pixels < Crops().cache_bytes


@pytest.mark.parametrize("workers", [0, 2])
def test_the_data_module_gives_crops_and_whole_images_within_one_bound(workers):
    samples = synthetic_crowds(8, size=(64, 64))
    data = TrainingData(
        samples[:6],
        samples[6:],
        Counting(),
        Crops(32, 2, num_workers=workers, cache_gb=8 * 64 * 64 * 3 / 2**30),
        stride=4,
        seed=3,
    )
    torch.testing.assert_close(list(data.train_dataloader()), list(loader(samples[:6])), rtol=0, atol=0)
    whole = list(data.val_dataloader())
    assert [index for _, index in whole] == [0, 1]
    torch.testing.assert_close(whole[0][0], normalise(samples[6].read()))
    assert data.crops.dataset.images.limit + data.images.images.limit == 8 * 64 * 64 * 3
    assert data.images.images.limit == 2 * 64 * 64 * 3
    assert data.crops.state_dict() == {"epoch": 0, "given": 3}


def test_whole_images_may_have_any_size():
    samples = [marked(np.zeros((0, 2)), size) for size in ((20, 31), (17, 9))]
    assert [tuple(image.shape) for image, _ in islice(iter(map(WholeImages(samples).__getitem__, range(2))), 2)] == [
        (3, 20, 31),
        (3, 17, 9),
    ]


@pytest.mark.parametrize("size", [8, 33])
def test_an_odd_crop_is_refused(size):
    with pytest.raises(SettingError, match="crop_size"):
        stream([], size=size)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rotation": -1}, "augmentation.rotation: -1; give a number from 0 to 180"),
        ({"scale": (1.5, 1)}, r"augmentation.scale: \[1.5, 1\]; give two numbers from 0.5 to 2"),
        ({"scale": (0.1, 1)}, "augmentation.scale"),
        ({"scale": (1,)}, "augmentation.scale"),
        ({"points_share": 2}, "augmentation.points_share: 2; give a number from 0 to 1"),
    ],
)
def test_an_odd_augmentation_is_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        Augmentation(**settings)


@pytest.mark.parametrize("gigabytes", [-1, float("nan"), 1e9])
def test_an_odd_cache_is_refused(gigabytes):
    with pytest.raises(SettingError, match="cache_gb"):
        Crops(cache_gb=gigabytes)
