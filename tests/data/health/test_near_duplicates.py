from dataclasses import replace

import cv2
import numpy as np
import pytest
from samples import synthetic_crowds

from nni_count.data import open_data
from nni_count.data.health.examination import look_at, pairs_across
from nni_count.data.health.near_duplicates import BITS, nearest, perceptual_hash

PHOTOS = synthetic_crowds(12, seed=3, size=(120, 160))


def recompressed(image):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR)


def smaller(image):
    return cv2.resize(image, None, fx=0.6, fy=0.55, interpolation=cv2.INTER_AREA)


def larger(image):
    return cv2.resize(image, None, fx=1.7, fy=1.7, interpolation=cv2.INTER_LINEAR)


def brighter(image):
    return np.clip(image * 1.3 + 20.0, 0, 255).astype(np.uint8)


def grey(image):
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None], 3, 2)


def noisy(image):
    return np.clip(image + np.random.default_rng(0).normal(0, 15, image.shape), 0, 255).astype(np.uint8)


def mirrored(image):
    return np.ascontiguousarray(image[:, ::-1])


def near_duplicates(first, second):
    """The pairs between two parts, as ``doctor`` finds them."""
    looks = [look for part, samples in (("train", first), ("test", second)) for look in look_at(part, samples)[0]]
    return pairs_across(looks, ["train", "test"])


def changed(samples, change):
    return [
        replace(sample, name=f"copy of {sample.name}", read=lambda s=sample: change(s.read())) for sample in samples
    ]


@pytest.mark.parametrize("change", [recompressed, smaller, larger, brighter, grey, noisy, mirrored])
def test_a_changed_copy_is_found_and_nothing_else(change):
    found = near_duplicates(PHOTOS, changed(PHOTOS[::2], change))
    assert [(pair.first.sample.name, pair.second.sample.name) for pair in found] == [
        (sample.name, f"copy of {sample.name}") for sample in PHOTOS[::2]
    ]
    assert all(pair.mirrored == (change is mirrored) for pair in found)


def test_the_same_image_has_distance_0_and_others_are_far():
    assert all(pair.distance == 0 and not pair.mirrored for pair in near_duplicates(PHOTOS, PHOTOS))
    assert near_duplicates(PHOTOS[:6], PHOTOS[6:]) == []
    assert near_duplicates(PHOTOS, []) == near_duplicates([], PHOTOS) == []


def test_blank_images_resemble_nothing():
    blank = [replace(PHOTOS[0], read=lambda level=level: np.full((50, 40, 3), level, np.uint8)) for level in (0, 255)]
    assert near_duplicates(blank, [*blank, *PHOTOS]) == []


def test_nearest_counts_the_signs_that_differ():
    rng = np.random.default_rng(0)
    first, second = (rng.choice([-1, 1], (number, BITS)).astype(np.float32) for number in (5, 9))
    for row, (index, distance, is_mirrored) in zip(first, nearest(first, second), strict=True):
        if not is_mirrored:
            assert distance == (row != second).sum(1).min() == (row != second[index]).sum()


def test_a_mirrored_hash_is_that_of_the_mirrored_image():
    for photo in PHOTOS:
        hashes = [perceptual_hash(image)[None] for image in (photo.read(), mirrored(photo.read()))]
        ((_, distance, is_mirrored),) = nearest(*hashes)
        assert distance <= 2
        assert is_mirrored


def test_the_known_near_duplicates_of_shanghaitech_are_found_and_no_others(real_data):
    dataset = open_data(real_data / "shanghaitech" / "part_A_final")
    found = near_duplicates(dataset.samples("train"), dataset.samples("test"))
    names = {
        tuple(look.sample.name.removeprefix("IMG_") for look in (pair.first, pair.second)): pair.distance
        for pair in found
    }
    assert set(names) == {
        ("121", "98"),
        ("139", "82"),
        ("2", "173"),
        ("154", "181"),
        ("60", "40"),
        ("97", "142"),
    }
    assert names["121", "98"] == 0
    assert max(names.values()) <= 12  # far below LIMIT
