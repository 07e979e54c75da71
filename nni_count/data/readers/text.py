"""Annotations in text, JSON and XML, read with errors that name them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from nni_count.errors import DataError

MAX_BYTES = 1 << 28


@contextmanager
def understood(path: Path, what: str) -> Iterator[None]:
    """Whatever a document of another shape leads to is an error that names its file."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, SyntaxError) as error:
        raise DataError(
            f"{path}: not understood as {what} ({type(error).__name__}: {str(error)[:80]}); write the file again"
        ) from error


def read_bytes(path: Path) -> bytes:
    """A file that is not too large.

    Raises:
        DataError: the file is missing or too large.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if len(data) > MAX_BYTES:
        raise DataError(f"{path}: larger than {MAX_BYTES >> 20} MiB; is it an annotation?")
    return data


def read_text(path: Path) -> str:
    """A UTF-8 file, with or without a byte order mark."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no UTF-8 text (byte {error.start}); save it as UTF-8") from error


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; empty ones and comments after ``#`` at a line's start are left out."""
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.strip()


def read_json(path: Path) -> Any:
    """A JSON document."""
    text = read_text(path)
    with understood(path, "JSON"):
        return json.loads(text)


def read_xml(path: Path) -> ElementTree.Element:
    """An XML document; one that declares entities, which could grow without bound or name files, is refused."""
    data = read_bytes(path)
    # annotations have no document type; a NUL betrays UTF-16, in which it could hide
    if b"<!DOCTYPE" in data or b"\0" in data:
        raise DataError(f"{path}: declares a document type or is not UTF-8; refused, write plain XML")
    with understood(path, "XML"):
        return ElementTree.fromstring(data)


def head(path: Path, size: int = 4096) -> str:
    """The start of a file, to recognise it by; empty where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(size).decode("utf-8", "replace")
    except OSError:
        return ""


def table_cells(line: str) -> list[str]:
    """The cells of a line: between tabs or semicolons, beside which a comma is a decimal one, else between commas."""
    separator = next((mark for mark in "\t;" if mark in line), ",")
    return [cell.strip().strip('"') for cell in line.split(separator)]


def read_points(path: Path, split: Callable[[str], list[str]] = str.split, *, header: bool = False) -> np.ndarray:
    """A table with a point a line: ``(N, 2)``; an empty file is an image with nobody.

    Args:
        path: the file.
        split: cuts a line into cells; x and y are the first two.
        header: whether the first line may name the columns, so that x and y may stand among others.
    """
    points: list[tuple[float, float]] = []
    x, y, most = 0, 1, 2 if header else 1 << 20  # among unnamed columns, the first two may well be others
    for index, (number, line) in enumerate(read_lines(path)):
        cells = split(line)
        names = [cell.lower() for cell in cells]
        if header and not index and {"x", "y"} <= set(names):
            x, y, most = names.index("x"), names.index("y"), 1 << 20
            continue
        try:
            point = float(cells[x]), float(cells[y])
        except (ValueError, IndexError):
            point = None
        if point is None or len(cells) > most:
            remedy = "mend the line" + (", or name the columns x and y in the first one" if header else "")
            raise DataError(f"{path}, line {number}: expected x and y, found {line[:40]!r}; {remedy}")
        points.append(point)
    return np.array(points, np.float64).reshape(-1, 2)
