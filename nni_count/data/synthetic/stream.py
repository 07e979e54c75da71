"""Streams of samples without end."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import partial

import numpy as np

from nni_count.data.sample import Sample
from nni_count.data.synthetic.paint import Pair
from nni_count.errors import SettingError


class Stream(ABC):
    """``stream[i]`` is sample ``i``: a function of the stream's settings and ``i`` alone, the same in every process.

    Points are drawn when a sample is asked for, its image whenever it is read. Iterating never ends.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Of the samples, before their number."""

    @abstractmethod
    def points(self, index: int) -> np.ndarray:
        """What is to be counted in image ``index``: ``(N, 2)`` float64, x y in pixels, inside the image."""

    @abstractmethod
    def image(self, index: int) -> np.ndarray:
        """Paint image ``index``: ``(H, W, 3)`` uint8 RGB."""

    def __getitem__(self, index: int) -> Sample:
        if index < 0:
            raise IndexError(f"{self.name}: number {index}; a stream begins with 0 and has no end to count from")
        # unlike a lambda, a partial can be sent to a worker process
        return Sample(f"{self.name}-{index:05d}", self.points(index), partial(self.image, index))

    def __iter__(self) -> Iterator[Sample]:
        return map(self.__getitem__, itertools.count())

    def take(self, number: int, start: int = 0) -> list[Sample]:
        """Samples ``start``, ``start + 1``, … of the stream."""
        if min(number, start) < 0:
            raise SettingError(f"{self.name}: number {number} and start {start} must not be negative")
        return [self[index] for index in range(start, start + number)]


def check_settings(what: str, seed: int, size: Pair, counted: str, number: Pair) -> None:
    """Refuse settings that no image has."""
    if seed < 0:
        raise SettingError(f"{what}: seed {seed} must not be negative")
    if min(size) < 32:
        raise SettingError(f"{what}: size {tuple(size)}; give a height and width of at least 32 pixels")
    if not 0 <= number[0] <= number[1]:
        raise SettingError(f"{what}: {counted} {tuple(number)}; give the fewest and the most, neither negative")
