"""MATLAB files, version 5 and 7.3, read with errors that name them and without trusting the sizes they declare."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat, whosmat

from nni_count.errors import DataError

#: bound of a file and of what is in it; the largest annotation of a public set is a hundredth of it
MAX_BYTES = 1 << 25
HDF5 = b"\x89HDF\r\n\x1a\n"
MATRIX, COMPRESSED = 14, 15  # kinds of elements in a version 5 file
NUMBERS = {"double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}
CELL, STRUCT, OBJECT, SPARSE, FUNCTION, OPAQUE = 1, 2, 3, 5, 16, 17  # classes of arrays


@contextmanager
def _opened(path: Path) -> Iterator[bytes | None]:
    """The bytes of a file of version 5, None of 7.3; whatever its damage leads to is an error that names it."""
    try:
        with open(path, "rb") as file:
            start = file.read(520)
            yield None if HDF5 in (start[:8], start[512:]) else start + file.read(MAX_BYTES)
    except Exception as error:  # scipy raises whatever the damaged bytes lead to
        what = getattr(error, "strerror", None) or f"{type(error).__name__}: {str(error)[:80]}"
        raise DataError(f"{path}: not a readable .mat file ({what}); restore the original file") from error


def load_mat(path: Path, key: str) -> Any:
    """The variable ``key`` of a MATLAB file; of version 7.3 only plain arrays are read.

    Raises:
        DataError: the file is missing or corrupt, declares more than it holds, or has no such variable.
    """
    with _opened(path) as data:
        contents, names = _load_hdf5(path, key) if data is None else _load_version_5(data, key)
    if key not in contents:
        raise DataError(
            f"{path}: has no variable {key!r} (found: {', '.join(names) or 'none'}); is it another data set's?"
        )
    return np.asarray(contents[key])


def load_points(path: Path, key: str) -> np.ndarray:
    """The variable ``key`` as points ``(N, 2)`` float64; any empty array is nobody."""
    return as_points(load_mat(path, key), path, key)


def as_points(points: np.ndarray, path: Path, key: str) -> np.ndarray:
    """What a file calls ``key`` as points ``(N, 2)`` float64; any empty array is nobody."""
    if points.size == 0:
        return np.zeros((0, 2))
    if points.dtype.kind not in "biuf" or points.ndim != 2 or points.shape[1] != 2:
        raise DataError(
            f"{path}: {key} has the shape {points.shape} of {points.dtype}, expected N×2 (x, y); "
            "restore the original file"
        )
    return np.asarray(points, np.float64)


def point_keys(path: Path) -> set[str]:
    """The variables of a MATLAB file that could be points: N×2 numbers, or an empty array.

    Raises:
        DataError: the file is missing or corrupt.
    """
    with _opened(path) as data:
        if data is not None:
            found = whosmat(BytesIO(_unpack(data)))
            return {key for key, shape, kind in found if kind in NUMBERS and (shape[1:] == (2,) or 0 in shape)}
        import h5py

        with h5py.File(path, "r") as file:
            own = {key: file[key] for key in file if isinstance(file.get(key, getlink=True), h5py.HardLink)}
            arrays = {key: array for key, array in own.items() if isinstance(array, h5py.Dataset)}
            numbers = {key: array for key, array in arrays.items() if array.dtype.kind in "biuf"}
            return {key for key, a in numbers.items() if a.attrs.get("MATLAB_empty") or a.shape[:-1] == (2,)}


def bare(value: Any) -> np.ndarray:
    """What stands in cells of one, of which MATLAB's and SciPy's writers put none, one or several around a value."""
    found = np.asarray(value)
    while found.dtype.kind == "O" and found.size == 1:
        found = np.asarray(found.flat[0])
    return found


def _load_version_5(data: bytes, key: str) -> tuple[dict[str, Any], list[str]]:
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES >> 20} MiB")
    plain = BytesIO(_unpack(data))
    contents: dict[str, Any] = loadmat(plain, variable_names=[key])
    return contents, [] if key in contents else [name for name, *_ in whosmat(plain)]


def _unpack(data: bytes) -> bytes:
    """The file with its variables decompressed, without sparse ones, whose indices scipy believes; every declared size
    is checked, so that what scipy then allocates is bounded.
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise ValueError("no header of version 5")
    result, position = bytearray(data[:128]), 128
    while position + 8 <= len(data):
        kind, size = struct.unpack_from(order + "II", data, position)
        element = data[position : position + 8 + size]
        position += len(element)
        if kind == COMPRESSED:
            engine = zlib.decompressobj()
            element = engine.decompress(element[8:], MAX_BYTES)
            if engine.unconsumed_tail or len(result) + len(element) > 2 * MAX_BYTES:
                raise ValueError(f"unpacks to more than {MAX_BYTES >> 20} MiB")
        arrays = [content for kind, content in _elements(memoryview(element), order) if kind == MATRIX]
        if SPARSE not in [_check_array(content, order, 0) for content in arrays]:
            result += element
    return bytes(result)


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Kind and content of the elements of which a version 5 file is made."""
    position = 0
    while position + 8 <= len(data):
        kind, size = struct.unpack_from(order + "II", data, position)
        if kind >> 16:  # a small element: its data stand in place of the size
            kind, size, start, end = kind & 0xFFFF, kind >> 16, position + 4, position + 8
        else:
            start, end = position + 8, position + 8 + -(-size // 8) * 8
        if not 0 < kind <= 18 or start + size > min(end, len(data)):
            raise ValueError("declares more than it holds")
        yield kind, data[start : start + size]
        position = end


def _check_array(content: memoryview, order: str, depth: int) -> int:
    """The class of an array; one that declares more than it has is refused, before anybody makes room for it."""
    if not content:
        return 0
    if depth > 16:
        raise ValueError("arrays nested too deeply")
    elements = _elements(content, order)
    (_, flags), (_, dimensions) = next(elements), next(elements)
    word: int = struct.unpack_from(order + "I", flags)[0]
    kind, parts = word & 0xFF, 1 + (word >> 11 & 1)  # with the imaginary ones, for which scipy does not look
    cells = 1 if kind == OPAQUE else math.prod(value for (value,) in struct.iter_unpack(order + "I", dimensions))
    heading = {STRUCT: 3, OBJECT: 4}.get(kind, 1)  # name, (class,) length of field names, field names
    before = b"", b""
    for _ in range(heading if kind != OPAQUE else 0):
        before = before[1], bytes(next(elements)[1])
    if kind in (STRUCT, OBJECT):
        (length,) = struct.unpack_from(order + "I", before[0])
        cells *= len(before[1]) // max(1, length)
    inner = list(elements)
    children = [part for child, part in inner if child == MATRIX]
    if SPARSE in [_check_array(child, order, depth + 1) for child in children]:
        raise ValueError("has a sparse matrix in it")  # scipy believes its indices
    cells = {FUNCTION: 1, SPARSE: 0}.get(kind, cells)
    plain = kind not in (CELL, STRUCT, SPARSE, OBJECT, FUNCTION, OPAQUE)
    if cells > (len(content) if plain else len(children)) or (plain and parts > len(inner) - len(children)):
        raise ValueError("declares more than it holds")
    return kind


def _load_hdf5(path: Path, key: str) -> tuple[dict[str, Any], list[str]]:
    import h5py

    with h5py.File(path, "r") as file:
        link = file.get(key, getlink=True)
        if link is None:
            return {}, [name for name in file if not name.startswith("#")]
        data = file[key] if isinstance(link, h5py.HardLink) else None
        if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "biuf" or data.is_virtual or data.external:
            raise ValueError(f"{key} is no plain array of numbers")
        if data.nbytes > MAX_BYTES:
            raise ValueError(f"{key} declares more than {MAX_BYTES >> 20} MiB")
        if data.attrs.get("MATLAB_empty"):
            return {key: np.zeros((0, 0))}, []
        return {key: np.asarray(data).T}, []  # MATLAB stores by columns
