"""Decoded images, in memory that is bounded and shared by the processes that prepare batches."""

from __future__ import annotations

import mmap
import multiprocessing
from collections.abc import Sequence
from typing import Any

import numpy as np

from nni_count.data.sample import Sample
from nni_count.errors import SettingError


class ImageCache:
    """The images of samples, decoded once each until ``limit`` bytes are full; later ones are decoded each time.

    Those that came first stay: where every pass takes every image once, dropping the oldest would mean to decode
    all of them again. The memory is taken as it fills. Processes that are forked share it, so that an image is decoded
    once for all workers; those that are started otherwise have a part of it each, ``limit`` divided by ``processes``.

    Args:
        samples: whose images are read, by their place.
        limit: bytes.
    """

    def __init__(self, samples: Sequence[Sample], limit: int):
        self.samples = samples
        self.limit = limit
        self.processes = 1
        self._lock = multiprocessing.Lock()
        try:
            self._pixels = np.frombuffer(mmap.mmap(-1, max(1, limit)), np.uint8)
        except OSError as error:
            raise SettingError(
                f"cache_gb: no {limit / (1 << 30):.1f} GB of memory for decoded images ({error.strerror}); give less"
            ) from error
        # a row an image: where it begins, height (0: not there), width; in the last row the bytes in use
        table = mmap.mmap(-1, 3 * 8 * (len(samples) + 1))
        self._table = np.frombuffer(table, np.int64).reshape(-1, 3)

    def __len__(self) -> int:
        """How many images are kept."""
        return int((self._table[:-1, 1] > 0).sum())

    @property
    def nbytes(self) -> int:
        """The memory in use, in bytes."""
        return int(self._table[-1, 0])

    def __getitem__(self, index: int) -> np.ndarray:
        """The image of a sample, ``(H, W, 3)`` uint8; not to be written into."""
        with self._lock:
            start, height, width = self._table[index].tolist()
        if height:
            return self._pixels[start : start + 3 * height * width].reshape(height, width, 3)
        image = self.samples[index].read()
        with self._lock:  # by now another process may have put it there
            start = int(self._table[-1, 0])
            if not self._table[index, 1] and start + image.nbytes <= self.limit:
                self._pixels[start : start + image.nbytes] = image.reshape(-1)
                self._table[index] = start, *image.shape[:2]
                self._table[-1, 0] = start + image.nbytes
        return image

    def __reduce__(self) -> tuple[Any, ...]:
        return ImageCache, (self.samples, self.limit // self.processes)
