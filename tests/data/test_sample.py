"""Image files as people have them: of any format, turned by a camera, with more than an image in them."""

import io
import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from nni_count.commands.doctor import doctor
from nni_count.data import open_data
from nni_count.data.headers import image_size
from nni_count.data.images import check_whole, read_image
from nni_count.errors import DataError
from nni_count.runs.memory import memory_left

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


def late_exif(exif):
    """A PNG whose eXIf stands behind its pixels, where ExifTool may write it."""
    file = io.BytesIO()
    Image.fromarray(marked()).save(file, "PNG")
    data, chunk = file.getvalue(), b"eXIf" + exif.tobytes()[6:]
    end = data.rindex(b"IEND") - 4
    return data[:end] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[end:]


def test_size_and_pixels_agree_on_how_a_photo_is_turned_wherever_that_is_told(tmp_path):
    """EXIF decides, behind the pixels and on each page too; XMP does not, damaged EXIF tells nothing."""
    exif, other = Image.Exif(), Image.Exif()
    exif[0x0112], other[0x010F] = 6, "Camera"
    xmp = b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    photo = Image.fromarray(marked())
    photo.save(tmp_path / "xmp.jpg", exif=other, xmp=xmp)
    photo.save(tmp_path / "xmp.webp", exif=other, xmp=xmp, lossless=True)
    photo.save(tmp_path / "xmp.tif", exif=other, tiffinfo={700: xmp})
    photo.save(tmp_path / "both.mpo", "MPO", exif=exif, save_all=True, append_images=[photo])
    for name in ("pages.webp", "pages.png"):
        photo.save(tmp_path / name, exif=exif, save_all=True, append_images=[photo, Image.new("RGB", photo.size)])
    for suffix in ("jpg", "png", "webp"):
        photo.save(tmp_path / f"damaged.{suffix}", exif=b"Exif\0\0of no kind")
    (tmp_path / "late.png").write_bytes(late_exif(exif))
    for path in sorted(tmp_path.iterdir()):
        orientation = 1 if path.stem in ("xmp", "damaged") else 6
        for page in (1, 2) if path.stem == "pages" else (1,):
            for oriented in (False, True):
                image = read_image(path, oriented=oriented, page=page)
                assert image.shape[1::-1] == image_size(path, oriented=oriented, page=page), path
                assert page == 2 or corner(image, *SEEN[orientation if oriented else 1]).mean() > 200, path


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


def test_a_jpeg_whose_data_end_early_is_refused_though_its_end_is_marked(tmp_path):
    noise = cv2.resize(np.random.default_rng(1).integers(0, 256, (12, 16, 3), np.uint8), (640, 480))
    path = tmp_path / "a.jpg"
    for settings in ({}, {"progressive": True}, {"restart_marker_blocks": 8}, {"quality": 30, "optimize": True}):
        data = jpeg(noise, **settings)
        path.write_bytes(data + b"what telephones append")
        assert check_whole(path) == ""
        for share in (0.5, 0.8):
            path.write_bytes(data[: int(len(data) * share)] + b"\xff\xd9")
            with pytest.raises(DataError, match=r"a.jpg: a part of this JPEG is missing|a.jpg: not a readable"):
                check_whole(path)
    path.write_bytes(photograph())
    assert check_whole(path) == ""
    for suffix in ("png", "tif", "webp", "bmp"):
        whole = tmp_path / f"a.{suffix}"
        Image.fromarray(noise).save(whole)
        assert check_whole(whole) == ""
        whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        with pytest.raises(DataError, match="not a readable image"):
            check_whole(whole)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_read_as_what_they_are_or_refused(tmp_path, suffix, channels):
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, channels))
    expected = np.broadcast_to(photo[:, :, ::-1], (20, 30, 3))
    path = tmp_path / f"a.{suffix}"

    def write(pixels):
        path.write_bytes(cv2.imencode(path.suffix, pixels.astype(np.uint16))[1].tobytes())

    write(photo * 257)
    np.testing.assert_array_equal(read_image(path), expected)
    np.testing.assert_array_equal(read_image(path, white=65535), expected)
    write(photo // 8 * 257)  # a dark one, made of 8 bits
    np.testing.assert_array_equal(read_image(path), expected // 8)
    for factor, white in ((16, 4080), (1, 255), (64, 16320)):
        write(photo.astype(int) * factor)
        with pytest.raises(DataError, match=r"has 16 bits, of which it uses \d+: .* --data.white"):
            read_image(path)
        np.testing.assert_array_equal(read_image(path, white=white), expected)


def test_a_tiff_whose_zero_is_white_is_no_negative(tmp_path):
    photo, path = np.random.default_rng(0).integers(0, 256, (20, 30)), tmp_path / "a.tif"
    for factor, white in ((1, None), (257, None), (257, 65535), (16, 4080)):
        stored = photo.astype(np.uint8) if factor == 1 else ((255 - photo) * factor).astype(np.uint16)
        pages = [Image.fromarray(pixels) for pixels in (stored, np.ascontiguousarray(stored[::-1]))]
        pages[0].save(path, save_all=True, append_images=pages[1:], tiffinfo={262: 0})  # of 8 bits Pillow inverts them
        for page, expected in ((1, photo), (2, photo[::-1])):
            with Image.open(path) as image:
                image.seek(page - 1)
                assert image.tag_v2[262] == 0
            np.testing.assert_array_equal(read_image(path, white=white, page=page)[:, :, 0], expected)
    with pytest.raises(DataError, match=r"has 16 bits, of which it uses 12"):
        read_image(path, page=1)
    Image.fromarray(photo.astype(np.float32)).save(path, tiffinfo={262: 0})
    with pytest.raises(DataError, match="pixels are float32"):
        read_image(path)


def test_other_depths_are_said(tmp_path):
    for kind in (np.float32, np.int32, np.int16):
        path = tmp_path / f"{np.dtype(kind)}.tif"
        pixels = np.zeros((20, 30), kind)
        Image.fromarray(pixels).save(path) if kind != np.int16 else cv2.imwrite(str(path), pixels)
        with pytest.raises(DataError, match=rf"pixels are {np.dtype(kind)}; save the image with 8 or 16 bits"):
            read_image(path)


@pytest.mark.parametrize("suffix", ["tif", "webp", "png"])
def test_pages_are_asked_for(tmp_path, suffix):
    blank, photo = Image.new("RGB", (30, 20)), Image.fromarray(np.full((20, 30, 3), 200, np.uint8))
    path = tmp_path / f"a.{suffix}"
    blank.save(path, save_all=True, append_images=[photo], **({"lossless": True} if suffix == "webp" else {}))
    for read in (read_image, image_size):
        with pytest.raises(DataError, match=r"has 2 pages; say which is meant with --data.page .* 1 to 2"):
            read(path)
        with pytest.raises(DataError, match=r"has 2 page\(s\), and no page 3"):
            read(path, page=3)
    assert [read_image(path, page=page).mean() for page in (1, 2)] == [0, 200]
    blank.save(path)
    assert read_image(path).max() == 0


def test_a_smaller_copy_within_a_tiff_is_no_page(tmp_path):
    photo = Image.fromarray(np.full((20, 30, 3), 200, np.uint8))
    small = Image.new("RGB", (15, 10))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    photo.save(tmp_path / "a.tif", save_all=True, append_images=[small], tiffinfo={254: 0})
    with Image.open(tmp_path / "a.tif") as image:
        image.seek(1)
        if image.tag_v2.get(254) != 1:
            pytest.skip("this Pillow cannot write one")
    assert read_image(tmp_path / "a.tif").mean() == 200


def test_transparent_pixels_are_told(tmp_path):
    pixels = np.full((20, 30, 4), 255, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert check_whole(tmp_path / "a.png") == ""
    pixels[:5, :, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert check_whole(tmp_path / "a.png").startswith("25.0% of its pixels are transparent")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_points_follow_a_photo_however_its_camera_was_held(tmp_path, orientation):
    """A click on the white corner is on it, on whichever frame it was set, and the photo is the one that is counted."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    folder = tmp_path / "set"
    folder.mkdir()
    Image.fromarray(marked()).save(folder / "a.png", exif=exif)
    shown = read_image(folder / "a.png", oriented=True)
    rows, columns = np.nonzero(shown[:, :, 0] > 200)
    clicks = {"stored": (4, HEIGHT - 4), "shown": (columns.mean() + 0.5, rows.mean() + 0.5)}
    for frame, (x, y) in clicks.items():
        (folder / "clicks.csv").write_text(f"image,x,y\na.png,{x},{y}\n")
        dataset = open_data(folder, frame=frame)
        (sample,) = dataset.samples("all")
        np.testing.assert_array_equal(sample.read(), shown)
        np.testing.assert_allclose(sample.points, [clicks["shown"]], atol=0.6)
        assert not dataset.turned
    if orientation > 1:
        for number in (1, 2, 3):
            Image.fromarray(marked()).save(folder / f"{number}.png", exif=exif)
        lines = [f"{name}.png,{x},{y}" for name in "a123" for x, y in [clicks["shown"]] * 5]
        (folder / "clicks.csv").write_text("\n".join(["image,x,y", *lines]))
        with pytest.warns(UserWarning, match=r"4 photos, such as \S+.png, are marked as turned by their camera"):
            open_data(folder).samples("all")
        report = doctor(data=folder)
        assert [finding["where"] for finding in report["warnings"] + report["faults"] if finding["kind"] == "turned"]
        assert not any("is y given first" in finding["message"] for finding in report["faults"])


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_a_size_that_is_that_of_both_frames_tells_nothing(tmp_path, orientation):
    """Points are taken to be on the photo as viewers show it, with a word where the size of no other photo tells so."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(marked()).save(tmp_path / "a.png", exif=exif)
    (tmp_path / "b.csv").write_text("image,x,y,image_width,image_height\na.png,4,5,64,48\n")
    with pytest.warns(UserWarning, match=r"a.png, are marked as turned .* as viewers show it \(--data.frame shown\)"):
        (sample,) = open_data(tmp_path).samples("all")
    np.testing.assert_array_equal(sample.points, [[4, 5]])
    exif[0x0112] = 6
    Image.fromarray(marked()).save(tmp_path / "c.png", exif=exif)
    (tmp_path / "b.csv").write_text("image,x,y,image_width,image_height\na.png,4,5,64,48\nc.png,4,5,48,64\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = open_data(tmp_path)
        assert [sample.points.tolist() for sample in dataset.samples("all")] == [[[4, 5]]] * 2
    assert not dataset.turned


def test_a_file_larger_than_the_memory_is_refused(tmp_path, monkeypatch):
    Image.fromarray(marked()).save(tmp_path / "a.png")
    assert memory_left() > 1e6
    monkeypatch.setattr("nni_count.data.images.memory_left", lambda: 10_000)
    with pytest.raises(DataError, match=r"a.png: 64×48 pixels do not fit into the memory; scale"):
        read_image(tmp_path / "a.png")
