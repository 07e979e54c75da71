"""Files made to fill the memory or to be led out of the data set are refused, by their headers alone."""

import json
import struct
import subprocess
import sys
import warnings
import zlib

import h5py
import numpy as np
import pytest
from data.layouts import Written, image, mat_7_3, write
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from nni_count.data import open_data
from nni_count.data.headers import image_size
from nni_count.data.images import check_whole, read_image
from nni_count.data.readers.matlab import load_mat
from nni_count.data.readers.text import read_xml
from nni_count.errors import DataError

#: reads .mat files where no more than 300 MiB above what the imports took can be had
BOUNDED = """
import resource, sys
from pathlib import Path
import h5py
from nni_count.data.readers.matlab import load_mat
from nni_count.errors import DataError
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (300 << 20), size + (300 << 20)))
for path in sys.argv[1:]:
    try:
        print(path, "is read:", load_mat(Path(path), "annPoints"))
    except DataError as error:
        print(error)
"""


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(path, side):
    rows = zlib.compressobj()
    data = rows.compress(bytes(1 << 20)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [12_000, 17_000, 30_000, 1_000_000])
def test_a_png_bomb_is_refused_by_its_header(tmp_path, side):
    png_bomb(tmp_path / "1.png", side)
    (tmp_path / "1.csv").write_text("3,4\n")
    path = tmp_path / "1.png"
    for read in (lambda: read_image(path), lambda: check_whole(path), lambda: open_data(tmp_path).samples("all")):
        with pytest.raises(DataError, match=r"1.png: would be .* million pixels"):
            read()


def test_a_large_photograph_is_none(tmp_path):
    png_bomb(tmp_path / "a.png", 9_900)  # PIL warns at 89 million pixels
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image_size(tmp_path / "a.png") == (9_900, 9_900)


def element(kind, content):
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def array(kind, dimensions, *content, name=b"annPoints"):
    head = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack(f"<{len(dimensions)}I", *dimensions))
    return element(14, head + element(1, name) + b"".join(content))


def write_version_5(path, *elements):
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"".join(elements))
    return path


def test_the_files_made_here_are_what_scipy_takes_for_good(tmp_path):
    numbers = element(9, np.arange(6, dtype="<f8").tobytes())
    path = write_version_5(tmp_path / "a.mat", array(6, (3, 2), numbers))
    np.testing.assert_array_equal(load_mat(path, "annPoints"), [[0, 3], [1, 4], [2, 5]])
    inner = array(6, (3, 2), numbers, name=b"")
    path = write_version_5(tmp_path / "b.mat", element(15, zlib.compress(array(1, (1, 1), inner))).rstrip(b"\0"))
    assert load_mat(path, "annPoints")[0, 0].shape == (3, 2)


HUGE = {
    "cells": array(1, (1 << 30, 1)),
    "cells with one in them": array(1, (1 << 28, 1), array(6, (0, 0), name=b"")),
    "numbers": array(6, (1 << 30, 2), element(9, bytes(16))),
    "numbers without their imaginary parts": array(6 | 0x800, (3, 2), element(9, bytes(48))),
    "a struct": array(2, (1 << 28, 1), element(5, struct.pack("<I", 2)), element(1, b"a\0")),
    "a struct of many fields": array(
        2, (100_000, 1), element(5, struct.pack("<I", 1)), element(1, b"a" * 100_000), *[element(14, b"")] * 100_000
    ),
    "cells in cells": array(1, (1, 1), array(1, (1 << 30, 1), name=b"")),
    "an element longer than the file": struct.pack("<II", 14, 0xFFFFFFF0) + bytes(64),
    "a compressed bomb": element(15, zlib.compress(array(6, (1 << 24, 4), element(9, bytes(1 << 29))))),
}


def test_a_mat_that_declares_more_than_it_holds_is_refused(tmp_path):
    paths = [write_version_5(tmp_path / f"{what}.mat", data) for what, data in HUGE.items()]
    assert all(path.stat().st_size < 2 << 20 for path in paths)
    paths.append(tmp_path / "version 7.3.mat")
    with h5py.File(paths[-1], "w") as file:
        file.create_dataset("annPoints", (2, 1 << 34), "f8", chunks=(2, 1024))  # takes no room in the file
    done = subprocess.run([sys.executable, "-c", BOUNDED, *paths], capture_output=True, text=True, timeout=60)
    assert not done.stderr
    for path, line in zip(paths, done.stdout.splitlines(), strict=True):
        assert line.startswith(f"{path}: not a readable .mat file (")
        assert "MemoryError" not in line
        assert ("unpacks to more" if "bomb" in path.name else "declares more") in line


def test_a_sparse_matrix_is_not_read_and_what_is_beside_it_is(tmp_path):
    numbers = [
        element(5, struct.pack("<2I", 1 << 30, 1)),
        element(5, struct.pack("<3I", 0, 1, 2)),
        element(9, bytes(16)),
    ]
    sparse, points = array(5, (2, 2), *numbers, name=b"sparse"), array(6, (1, 2), element(9, bytes(16)))
    path = write_version_5(tmp_path / "a.mat", sparse, points)
    assert load_mat(path, "annPoints").tolist() == [[0, 0]]
    with pytest.raises(DataError, match=r"no variable 'sparse' \(found: annPoints\)"):
        load_mat(path, "sparse")
    nested = array(1, (1, 1), array(5, (2, 2), *numbers, name=b""))
    with pytest.raises(DataError, match="has a sparse matrix in it"):
        load_mat(write_version_5(tmp_path / "b.mat", nested), "annPoints")


def test_nested_without_end_is_refused(tmp_path):
    nested = array(6, (0, 0), name=b"")
    for _ in range(2000):
        nested = array(1, (1, 1), nested, name=b"")
    with pytest.raises(DataError, match="nested too deeply"):
        load_mat(write_version_5(tmp_path / "a.mat", nested), "annPoints")


def test_version_7_3_that_leads_elsewhere_is_refused(tmp_path):
    mat_7_3(tmp_path / "other.mat", annPoints=np.ones((3, 2)))
    with h5py.File(tmp_path / "b.mat", "w") as file:
        file["annPoints"] = h5py.ExternalLink("other.mat", "annPoints")
    with h5py.File(tmp_path / "c.mat", "w") as file:
        file.create_dataset("annPoints", (3, 2), "f8", external=[(str(tmp_path / "other.mat"), 0, 48)])
    for name in "bc":
        with pytest.raises(DataError, match=rf"{name}.mat: .*no plain array"):
            load_mat(tmp_path / f"{name}.mat", "annPoints")


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 2000), value=st.binary(min_size=1, max_size=8))
def test_a_damaged_mat_reads_or_is_refused(tmp_path_factory, place, value):
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    savemat(path, {"annPoints": np.random.default_rng(0).random((40, 2))}, do_compression=place % 2 == 0)
    data = bytearray(path.read_bytes())
    start = 128 + place % (len(data) - 128)
    data[start : start + len(value)] = value
    path.write_bytes(data)
    try:
        load_mat(path, "annPoints")
    except DataError as error:
        assert "a.mat" in str(error)  # noqa: PT017


LAUGHS = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_an_xml_bomb_is_refused(tmp_path, encoding):
    path = tmp_path / "annotations.xml"
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE x [<!ENTITY a0 "ha">{LAUGHS}]><annotations>&a11;'
    path.write_bytes(text.encode(encoding))
    with pytest.raises(DataError, match=r"annotations.xml: declares a document type"):
        read_xml(path)
    path.write_bytes(text.replace(LAUGHS, '<!ENTITY a11 SYSTEM "file:///etc/passwd">').encode(encoding))
    with pytest.raises(DataError, match=r"annotations.xml: declares a document type"):
        read_xml(path)


def test_json_nested_without_end_is_refused(tmp_path):
    image(tmp_path / "images" / "a.jpg", Written())
    (tmp_path / "a.json").write_text('{"images": ' + "[" * 200_000)
    with pytest.raises(DataError, match=r"a.json: not understood as JSON"):
        open_data(tmp_path).samples("all")


OUTSIDE = ["../secret.jpg", "images/../../secret.jpg", "/{root}/secret.jpg", "..\\secret.jpg", "C:\\secret.jpg", "a\0b"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("layout", ["coco", "cvat", "labelme", "voc"])
def test_a_name_that_leads_out_of_the_set_leads_nowhere(tmp_path, layout, name):
    name = name.replace("/{root}", str(tmp_path))
    written = write(layout, tmp_path / "set", [np.array([[3.0, 4.0]])] * 2)
    image(tmp_path / "secret.jpg", Written())
    path = written.annotations[1]
    old = written.images[1].name
    if "\0" in name and path.suffix == ".xml":
        pytest.skip("no XML")
    path.write_text(path.read_text().replace(old, json.dumps(name)[1:-1] if path.suffix == ".json" else name))
    if layout in ("labelme", "voc"):  # the document's own name says which image is meant
        assert {sample.path for sample in open_data(tmp_path / "set").samples("all")} == set(written.images)
    else:
        with pytest.raises(DataError, match=rf"{path.name}: nothing for "):
            open_data(tmp_path / "set").samples("all")
