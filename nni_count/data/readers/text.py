"""Annotations in text, JSON and XML, read with errors that name them."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from nni_count.errors import DataError

MAX_BYTES = 1 << 28
#: what a document of another shape leads to
BROKEN = (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, SyntaxError)


@contextmanager
def understood(path: Path, what: str) -> Iterator[None]:
    """Whatever a document of another shape leads to is an error that names its file."""
    try:
        yield
    except KeyError as error:
        raise DataError(f"{path}: not understood as {what} (it has no {error}); write the file again") from error
    except (*BROKEN, csv.Error) as error:
        words = str(error)[:80] if isinstance(error, (ValueError, SyntaxError, csv.Error)) else "of another shape"
        raise DataError(f"{path}: not understood as {what} ({words}); write the file again") from error


def read_bytes(path: Path) -> bytes:
    """A file that is not too large.

    Raises:
        DataError: the file is missing or too large.
    """
    try:
        if path.exists() and not path.is_file():
            raise OSError(0, "no regular file")  # a pipe would be waited for
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if len(data) > MAX_BYTES:
        raise DataError(f"{path}: larger than {MAX_BYTES >> 20} MiB; is it an annotation?")
    return data


def read_text(path: Path) -> str:
    """A file of UTF-8, with or without a byte order mark, or of UTF-16 with one."""
    data = read_bytes(path)
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # by spreadsheets and PowerShell
    try:
        return data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no UTF-8 text (byte {error.start}); save it as UTF-8") from error


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers but for blank ones, as they are: what looks like a comment may be a name."""
    for number, line in enumerate(re.split("\r\n|\r|\n", read_text(path)), 1):
        if line.strip():
            yield number, line


def read_json(path: Path) -> Any:
    """A JSON document, in which no object has a key twice."""
    text = read_text(path)
    with understood(path, "JSON"):
        return json.loads(text, object_pairs_hook=_each_once)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return found


def json_keys(path: Path) -> set[str]:
    """The keys of a JSON document, to recognise it by; of a broken one those that it seems to have."""
    try:
        text = read_text(path)
    except DataError:
        return set()
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return set(re.findall(r'"(\w+)"\s*:', text))
    return set(document) if isinstance(document, dict) else set()


def read_xml(path: Path) -> ElementTree.Element:
    """An XML document, with tags in small letters.

    One that declares entities, which could grow without bound or name files, is refused.
    """
    data = read_bytes(path)
    # annotations have no document type; a NUL betrays UTF-16, in which it could hide
    if b"<!DOCTYPE" in data or b"\0" in data:
        raise DataError(f"{path}: declares a document type or is not UTF-8; refused, write plain XML")
    with understood(path, "XML"):
        root = ElementTree.fromstring(data)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2].lower()  # of a namespace
    return root


def xml_root(path: Path) -> str:
    """The name of an XML document's root, to recognise it by; empty where there is none."""
    parser: ElementTree.XMLPullParser[Any] = ElementTree.XMLPullParser(["start"])
    try:
        with open(path, "rb") as file:
            for piece in iter(lambda: file.read(1 << 16), b""):  # of small pieces newer parsers wait for the next
                parser.feed(piece)
                for event in parser.read_events():
                    return str(event[1].tag).rpartition("}")[2].lower()  # type: ignore[union-attr, misc]
    except (OSError, ElementTree.ParseError, LookupError, ValueError):
        pass
    return ""


def as_number(text: Any) -> float:
    """A number, or its text; a ValueError where it is none, as Python's ``1_0``."""
    return float(str(text).replace("_", " _ "))


def as_points(values: Any, columns: int = 2) -> np.ndarray:
    """Numbers, or their texts, as ``(N, columns)``; a ValueError where one is none, or they make no whole rows."""
    return np.array([as_number(value) for value in np.array(values, object).ravel()], float).reshape(-1, columns)


def as_flag(value: Any) -> bool:
    """Yes or no, of a document that may have them as truths, numbers or their texts, or nothing for no.

    Raises:
        ValueError: it is neither.
    """
    word = "" if value is None else as_id(value).strip().lower()
    if word not in ("", "0", "false", "1", "true"):
        raise ValueError(f"{value!r} is neither 0 nor 1")
    return word in ("1", "true")


def as_id(value: Any) -> str:
    """An id as people see it, a number or a text."""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


class Table:
    """A CSV file: ``rows``, the cells of those that are not blank, each with the number of its line.

    What stands between cells is settled once, by the first line: the first of tab, semicolon, comma, bar and blank that
    it has outside quotes.

    Args:
        path: the file.
        most: rows that are read; None is all.

    Raises:
        DataError: the file cannot be read, or its quotes do not fit.
    """

    def __init__(self, path: Path, most: int | None = None):
        lines = io.StringIO(read_text(path), newline="")
        first = next((line for line in lines if line.strip()), "").strip()
        told = re.fullmatch("sep=(.)", first, re.IGNORECASE)  # by Excel
        if told is None:
            lines.seek(0)
        bare = re.sub('"[^"]*"', "", first)
        self.path = path
        self.separator = told[1] if told else next((mark for mark in "\t;,| " if mark in bare), ",")
        with understood(path, "a table"):
            reader = csv.reader(lines, delimiter=self.separator, skipinitialspace=True, strict=True)
            found = ((reader.line_num + bool(told), _without_tail(row)) for row in reader)
            self.rows = list(islice(((number, cells) for number, cells in found if cells), most))

    def column(self, *names: str) -> int | None:
        """The place of the column that the first row calls by one of these names, whatever its capitals, if any.

        Raises:
            DataError: there are several.
        """
        found = [index for index, cell in enumerate(self.header) if cell in names]
        if len(found) > 1:
            raise DataError(f"{self.path}: {len(found)} columns are called {' or '.join(names)}; rename all but one")
        return found[0] if found else None

    @property
    def header(self) -> list[str]:
        """The cells of the first row, in small letters."""
        return [cell.lstrip("# ").lower() for cell in self.rows[0][1]] if self.rows else []

    def number(self, cell: str) -> float:
        """A number with a decimal point or comma; ``1,234`` beside commas could be either and is refused.

        Raises:
            ValueError: it is none.
        """
        if self.separator == "," and re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+", cell):
            raise ValueError(cell)
        return as_number(cell.replace(",", "."))

    def fault(self, number: int, expected: str, remedy: str = "mend the line") -> DataError:
        """What a row is not."""
        found = self.separator.join(dict(self.rows)[number])
        return DataError(f"{self.path}, line {number}: expected {expected}, found {found[:60]!r}; {remedy}")


def _without_tail(row: list[str]) -> list[str]:
    """The cells up to the last one that is not empty."""
    cells = [cell.strip() for cell in row]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def read_points(path: Path, *, header: bool = False) -> np.ndarray:
    """A table with a point a line: ``(N, 2)``; an empty file is an image with nobody.

    Args:
        path: the file; x and y are its first two columns, and others are left alone.
        header: whether the first line may name the columns, so that x and y may stand among others; unnamed, there are
            these two alone.
    """
    table = Table(path)
    rows, most = table.rows, 2 if header else 1 << 20  # among unnamed columns, the first two may well be others
    x, y = (table.column("x"), table.column("y")) if header else (None, None)
    if x is None or y is None:
        x, y = 0, 1
    else:
        rows, most = rows[1:], len(table.header)
    points: list[tuple[float, float]] = []
    for number, cells in rows:
        try:
            points.append((table.number(cells[x]), table.number(cells[y])))
        except (ValueError, IndexError):
            most = 0
        if len(cells) > most:
            remedy = "mend the line" + (", or name the columns x and y in the first one" if header else "")
            raise table.fault(number, "x and y", remedy)
    return np.array(points, np.float64).reshape(-1, 2)
