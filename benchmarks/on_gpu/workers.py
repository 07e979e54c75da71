"""Processes beside the one that holds the device."""

from __future__ import annotations

import os
import shutil

#: bytes of shared memory below which batches cannot go through it: of 16 crops of 256, two for each of 12 processes
LEAST_SHARED = 1 << 30


def workers(most: int) -> int:
    """How many: at most so many, two cores are left for the main process and its thread that pins memory; 0 where
    shared memory is too small, as in some containers.
    """
    cores = len(os.sched_getaffinity(0))
    if most > 1 and shutil.disk_usage("/dev/shm").free < LEAST_SHARED:
        return 0
    return max(1, min(most, cores - 2))
