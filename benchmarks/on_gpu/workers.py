"""Processes beside the one that holds the device."""

from __future__ import annotations

import os
import shutil
from typing import Any

from torch.utils.data import DataLoader, Dataset

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


def each(items: Dataset[Any], processes: int) -> DataLoader[Any]:
    """The items in their order, made by forked processes as they are."""
    return DataLoader(
        items,
        batch_size=None,
        num_workers=processes,
        collate_fn=_as_it_is,
        multiprocessing_context="fork" if processes else None,
    )


def _as_it_is(item: Any) -> Any:
    return item
