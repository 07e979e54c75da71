"""How much memory this process may still take, and what is said where it is wanting."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: what PyTorch, OpenCV and the C library say where memory is wanting
OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "allocate memory",
    "insufficient memory",
    "bad alloc",
    "bad_alloc",
)
#: where a container's bound and what it has taken of it stand, by version of control groups
GROUPS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # options of glibc
SHARE = 0.9  # of the memory that is left that is given away


def is_for_memory(error: BaseException) -> bool:
    """Whether an error is for want of memory."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(words in said for words in OUT_OF_MEMORY)


def memory_left() -> float:
    """In bytes: what the machine has free, or what a limit (``ulimit -v``, a container's) leaves; infinite where
    unknown.
    """
    if sys.platform != "linux":
        return math.inf
    import resource

    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    free = [int(words[1]) << 10 for words in lines if words[0] == "MemAvailable:"]
    for bound, taken in (map(Path("/sys/fs/cgroup").joinpath, names) for names in GROUPS):
        if bound.is_file() and (text := bound.read_text().strip()).isdecimal():
            free.append(int(text) - int(taken.read_text()))
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return min([*free, math.inf if limit == resource.RLIM_INFINITY else limit - _address_space()])


def _address_space() -> int:
    import resource

    return resource.getpagesize() * int(Path("/proc/self/statm").read_text().split()[0])


def keep_memory() -> None:
    """Let this process keep the memory that it frees, for what it takes next.

    Otherwise the C library gives every tensor of more than 32 MB back to the kernel, which clears the next one page by
    page: a third of the time that an image of a megapixel takes. Does nothing where the C library is not glibc.
    """
    if sys.platform == "linux":
        set_option = getattr(ctypes.CDLL(None), "mallopt", lambda *_: 0)
        for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1)):
            set_option(option, value)


@contextmanager
def within_memory() -> Iterator[None]:
    """Let what would take more memory than is left fail with an error, where the kernel would end the process."""
    left = memory_left()
    if not math.isfinite(left):
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + int(SHARE * max(0.0, left)), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
