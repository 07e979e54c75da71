"""Image files as people have them: of any format, turned by a camera, with more than an image in them."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from nni_count.data.images import image_size, read_image
from nni_count.errors import DataError

WIDTH, HEIGHT = 64, 48
#: where the mark in the lower left corner is seen, by EXIF's orientation: (row, column) of the corner
SEEN = {1: (-1, 0), 3: (0, -1), 6: (0, 0), 8: (-1, -1)}


def marked():
    """Black, with a white corner at the lower left."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[-8:, :8] = 255
    return pixels


def corner(image, row, column):
    return image[:6, :6] if (row, column) == (0, 0) else image[row * 6 :][:6, column * 6 :][:, :6]


@pytest.mark.parametrize("orientation", SEEN)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("oriented", [False, True])
def test_the_size_in_the_header_is_that_of_the_pixels(tmp_path, suffix, orientation, oriented):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(marked()).save(path, exif=exif)
    image = read_image(path, oriented=oriented)
    assert image.shape[1::-1] == image_size(path, oriented=oriented)
    turned = oriented or suffix == "tif"  # readers of TIFF turn it always
    assert corner(image, *SEEN[orientation if turned else 1]).mean() > 200


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGBA", "CMYK", "I;16"])
def test_any_kind_of_pixels_is_three_bytes(tmp_path, mode):
    if mode == "I;16":
        image = Image.fromarray(marked()[:, :, 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(marked()).convert(mode)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image.save(path)
    pixels = read_image(path)
    assert (pixels.shape, pixels.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    assert corner(pixels, *SEEN[1]).mean() > 200
    assert corner(pixels, 0, 0).mean() < 50


def jpeg(image, **settings):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", **settings)
    return file.getvalue()


def photograph():
    """With a small picture of itself in the header, as cameras write it."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    small = jpeg(cv2.resize(noise, None, fx=0.5, fy=0.5))
    header = b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big") + small
    data = jpeg(noise)
    return data[:2] + header + data[2:]


def test_a_photograph_with_a_film_behind_it_is_read(tmp_path):
    """As telephones write it."""
    (tmp_path / "a.jpg").write_bytes(photograph() + bytes(range(256)) * 100)
    assert read_image(tmp_path / "a.jpg").shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
def test_a_truncated_photograph_is_refused_though_the_picture_in_its_header_is_whole(tmp_path, share):
    data = photograph()
    (tmp_path / "a.jpg").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=r"a.jpg: not a readable image .*truncated"):
        read_image(tmp_path / "a.jpg")
