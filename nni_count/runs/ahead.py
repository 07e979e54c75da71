"""What is read while something else is worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def ahead(read: Callable[[Path], T], paths: Sequence[Path]) -> Iterator[Callable[[], T]]:
    """For each path what gives what is read of it, or raises why not; it is read while the one before is worked on."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read, paths[0])
        for path in paths[1:]:
            ready, coming = coming, reader.submit(read, path)
            yield ready.result
        yield coming.result
