"""Data: samples from public layouts and synthetic crowds, density maps, batches of crops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from nni_count.data.dataset import Dataset
from nni_count.data.shanghaitech import ShanghaiTech
from nni_count.errors import DataError, SettingError

#: ``--data.format`` → reader
READERS: dict[str, type[Dataset]] = {"shanghaitech": ShanghaiTech}

T = TypeVar("T")


def open_data(data: str | Path | Dataset, *, format: str | None = None, **settings: Any) -> Dataset:
    """The data set in a folder, its layout recognised from the files; or ``synthetic`` for synthetic crowds.

    Args:
        data: a folder, ``synthetic``, or a data set, which is given back.
        format: the layout's name, where the files leave doubt.
        settings: the reader's, such as ``outside``.

    Raises:
        DataError: the folder is missing or no layout fits.
        SettingError: a name or setting is unknown.
    """
    if isinstance(data, Dataset):
        return data
    try:
        if str(data) == "synthetic" and format is None:
            from nni_count.data.synthetic_set import SyntheticCrowds

            return SyntheticCrowds(**settings)
        root = Path(data)
        if not root.is_dir():
            raise DataError(f"{root}: no such folder; give a data set's folder, or 'synthetic'")
        if format is not None and format not in READERS:
            raise SettingError(f"data.format: {format!r} is unknown; known: {', '.join(READERS)}")
        for reader in [READERS[format]] if format else READERS.values():
            if reader.recognises(root):
                return reader(root, **settings)
    except TypeError as error:
        raise SettingError(f"data: {str(error).partition('__init__() ')[2] or error}") from None
    layouts = "; ".join(f"{name}: {reader.layout}" for name, reader in READERS.items())
    raise DataError(f"{root}: no known layout ({layouts}); check the path or give --data.format")


def split_off(samples: Sequence[T], fraction: float, seed: int) -> tuple[list[T], list[T]]:
    """Cut samples in two by a seeded draw: the rest, and at least one of ``fraction`` of them. Order is kept."""
    if len(samples) < 2:
        raise DataError(f"{len(samples)} image(s) cannot be split in two; give at least 2 training images")
    number = min(max(1, round(len(samples) * fraction)), len(samples) - 1)
    chosen = set(np.random.default_rng((seed, 0x5EED)).permutation(len(samples))[:number].tolist())
    rest = [sample for index, sample in enumerate(samples) if index not in chosen]
    return rest, [sample for index, sample in enumerate(samples) if index in chosen]


def halves(samples: Sequence[T], seed: int) -> tuple[list[T], list[T]]:
    """A seeded half for the weights and one for the architecture (NAS-Count, section 4.1.1)."""
    return split_off(samples, 0.5, seed)
