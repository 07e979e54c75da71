"""How much memory this process may still take, and what is said where it is wanting."""

from __future__ import annotations

import math
import sys
from pathlib import Path

#: what PyTorch, OpenCV and the C library say where memory is wanting
OUT_OF_MEMORY = ("out of memory", "not enough memory", "allocate memory", "insufficient memory", "bad alloc")


def is_for_memory(error: BaseException) -> bool:
    """Whether an error is for want of memory."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(words in said for words in OUT_OF_MEMORY)


def memory_left() -> float:
    """In bytes: what the machine has free, or what a limit (``ulimit -v``) leaves; infinite where unknown."""
    if sys.platform != "linux":
        return math.inf
    import resource

    page = resource.getpagesize()
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    free = next((int(words[1]) << 10 for words in lines if words[0] == "MemAvailable:"), math.inf)
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return free
    return min(free, limit - page * int(Path("/proc/self/statm").read_text().split()[0]))
