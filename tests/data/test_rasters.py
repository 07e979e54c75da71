"""Large TIFF images, read window by window, have the pixels that the reader of images gives."""

import numpy as np
import pytest
import rasterio
from PIL import Image

from nni_count.data import rasters
from nni_count.data.images import read_image
from nni_count.data.rasters import Raster, is_large, open_image, size_of
from nni_count.errors import DataError

TILED = {"tiled": True, "blockxsize": 64, "blockysize": 64}
KINDS = {
    "colours, tiled and packed": {"count": 3, "photometric": "RGB", "compress": "deflate", **TILED},
    "colours, strips": {"count": 3, "photometric": "RGB", "compress": "lzw"},
    "colours, a plane each": {"count": 3, "photometric": "RGB", "interleave": "band", **TILED},
    "colours, BigTIFF": {"count": 3, "photometric": "RGB", "BIGTIFF": "YES"},
    "grey": {"count": 1},
    "grey, 0 is white": {"count": 1, "photometric": "MINISWHITE"},
    "grey of 16 bits": {"count": 1, "dtype": "uint16"},
    "colours of 16 bits": {"count": 3, "dtype": "uint16", "photometric": "RGB"},
    "grey of 16 bits, 0 is white": {"count": 1, "dtype": "uint16", "photometric": "MINISWHITE"},
    "with transparency that is multiplied": {"count": 4, "photometric": "RGB", "alpha": "PREMULTIPLIED"},
    "with transparency": {"count": 4, "photometric": "RGB", "alpha": "YES"},
}


def write(path, count=3, dtype="uint8", height=150, width=211, seed=0, **kind):
    """A TIFF of noise; its values."""
    top = np.iinfo(dtype).max + 1
    values = np.random.default_rng(seed).integers(0, top, (count, height, width)).astype(dtype)
    with rasterio.open(path, "w", driver="GTiff", count=count, dtype=dtype, height=height, width=width, **kind) as file:
        file.write(values)
    return values


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", KINDS)
def test_windows_are_those_of_the_image(tmp_path, name):
    path = tmp_path / "a.tif"
    write(path, **KINDS[name])
    image, raster = read_image(path, oriented=True), Raster(path)
    assert raster.shape == image.shape
    for window in (np.s_[0:150, 0:211], np.s_[3:77, 60:65], np.s_[149:150, 210:211]):
        found = raster[window]
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, image[window])
    assert raster.reduced(1000).shape == image.shape
    small = raster.reduced(50)
    assert small.shape == (36, 50, 3)
    if "multiplied" not in name:  # noise may be brighter than its own opacity
        assert float(small.mean()) == pytest.approx(float(image.mean()), abs=2)
    assert bool(raster.note) == ("transparency" in name)


@pytest.mark.parametrize("mode", ["1", "P", "L", "RGB"])
def test_what_other_programs_write_too(tmp_path, mode):
    path, draw = tmp_path / "a.tif", np.random.default_rng(0)
    colours = Image.fromarray(draw.integers(0, 256, (40, 50, 3), np.uint8))
    colours.convert(mode).save(path, compression="tiff_lzw" if mode != "1" else None)
    np.testing.assert_array_equal(Raster(path)[0:40, 0:50], read_image(path))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_is_stored_turned_is_seen_as_viewers_show_it(tmp_path, orientation):
    path, draw = tmp_path / "a.tif", np.random.default_rng(0)
    stored = Image.fromarray(draw.integers(0, 256, (41, 67, 3), np.uint8))
    stored.save(path, compression="tiff_lzw", tiffinfo={274: orientation})
    image, raster = read_image(path, oriented=True), Raster(path)
    assert raster.shape == image.shape == ((67, 41, 3) if 5 <= orientation <= 8 else (41, 67, 3))
    for window in (np.s_[0:41, 0:41], np.s_[3:17, 20:25], np.s_[40:41, 0:1], np.s_[0:7, 33:41]):
        np.testing.assert_array_equal(raster[window], image[window])
    np.testing.assert_array_equal(raster.reduced(100), image)
    small = raster.reduced(20)
    assert small.shape[0] > small.shape[1] if 5 <= orientation <= 8 else small.shape[0] < small.shape[1]
    upright = tmp_path / "b.tif"
    Image.fromarray(image).save(upright, compression="tiff_lzw")
    difference = Raster(upright).reduced(20).astype(int) - small
    assert np.abs(difference).max() <= 60  # how pixels fall into means differs by one
    assert np.abs(difference).mean() < 20


def test_the_value_that_is_white_is_asked_for_and_heeded(tmp_path):
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", driver="GTiff", count=1, dtype="uint16", height=30, width=40) as file:
        file.write(np.random.default_rng(0).integers(0, 4096, (1, 30, 40)).astype("uint16"))
    with pytest.raises(DataError, match=r"a.tif: has 16 bits, of which it uses 12.* --white"):
        Raster(path)
    np.testing.assert_array_equal(Raster(path, white=4095)[0:30, 0:40], read_image(path, white=4095))


def test_pages_are_asked_for_and_found(tmp_path):
    path = tmp_path / "a.tif"
    pages = [Image.new("RGB", (20 + number, 10), (number, 0, 0)) for number in range(3)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match=r"a.tif: has 3 pages; say which .* 1 to 3"):
        Raster(path)
    with pytest.raises(DataError, match="no page 4"):
        Raster(path, page=4)
    for number in range(3):
        raster = Raster(path, page=number + 1)
        assert raster.shape == (10, 20 + number, 3)
        assert (raster[0:10, 0:20] == (number, 0, 0)).all()


def test_what_is_not_read_is_said(tmp_path):
    names = ("five", "numbers", "four", "colours", "text")
    five, numbers, four, colours, text = (tmp_path / f"{name}.tif" for name in names)
    with rasterio.open(four, "w", driver="GTiff", count=1, dtype="uint8", height=9, width=9, nbits=4) as file:
        file.write(np.full((1, 9, 9), 15, "uint8"))
    with rasterio.open(colours, "w", driver="GTiff", count=1, dtype="uint16", height=9, width=9) as file:
        file.write(np.ones((1, 9, 9), "uint16"))
        file.write_colormap(1, {number: (number % 256, 0, 0, 255) for number in range(300)})
    write(five, count=5)
    with rasterio.open(numbers, "w", driver="GTiff", count=1, dtype="float32", height=9, width=9) as file:
        file.write(np.zeros((1, 9, 9), "float32"))
    text.write_text("no image")
    for path, said in (
        (five, "has 5 bands .*; save red, green and blue alone"),
        (numbers, "pixels are float32; save the image with 8 or 16 bits"),
        (four, "pixels are of 4 bits; save the image with 8 or 16 bits"),
        (colours, "pixels are numbers of 16 bits of colours; save the image with 8 or 16 bits"),
        (text, "not a readable image"),
        (tmp_path / "none.tif", "not a readable image"),
    ):
        with pytest.raises(DataError, match=f"{path.name}: {said}"):
            Raster(path)


def test_a_damaged_part_is_said_when_it_is_read(tmp_path):
    path = tmp_path / "a.tif"
    write(path, **KINDS["colours, tiled and packed"])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"a.tif: not a readable image"):
        Raster(path)[0:150, 0:211]


def test_only_large_ones_are_read_so(tmp_path, monkeypatch):
    path, other = tmp_path / "a.tif", tmp_path / "a.png"
    write(path, **KINDS["colours, strips"])
    Image.new("RGB", (211, 150)).save(other)
    assert isinstance(open_image(path), np.ndarray)
    monkeypatch.setattr(rasters, "MAX_PIXELS", 1000)
    assert is_large(path)
    assert not is_large(other)
    assert not is_large(tmp_path / "none.tif")
    assert isinstance(open_image(path), Raster)
    assert size_of(path) == size_of(other) == (211, 150)


def test_without_the_library_it_is_said_what_brings_it(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    write(path, **KINDS["grey"])
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    with pytest.raises(DataError, match=r"needs rasterio: pip install 'nni-count\[tiff\]'"):
        Raster(path)
