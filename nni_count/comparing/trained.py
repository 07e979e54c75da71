"""A table of trained architectures: what became of each, read from one file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from nni_count.architecture import CELL_KINDS, Architecture
from nni_count.errors import ArchitectureError, DataError, SettingError
from nni_count.ops import NONE
from nni_count.runs.plain import check_file

FORMAT = "nni-count-table/1"
OURS = Path(__file__).with_suffix(".npz")  # where `pack` writes
#: what a row has once a point of its curve, or once a twentieth of its training
CURVES = ("seconds", "loss", "counts", "unexplained")
SHARED = ("steps", "truths")  # the same in all rows of a data set and a length


@dataclass(frozen=True, eq=False)
class Row:
    """What became of one training. It was judged P times, on N images.

    Args:
        architecture: what was trained.
        number: of the architecture in the table.
        data: name of the data set, ``cells`` or ``crowds`` in our table.
        seed: of the first weights and of the order of the crops.
        longer: whether it is one of the longer trainings.
        parameters: of the network that was trained.
        flops: 2 × multiply-adds of an image of 256×256 pixels.
        loss: of the training, the mean of each twentieth, ``(20,)``.
        steps: after which it was judged, ``(P,)``.
        seconds: processor time of the training up to there, ``(P,)``; judging is left out.
        counts: what it counted in each image, ``(P, N)``, to three digits; infinite where it was no number.
        truths: the number of points of each image, ``(N,)``.
        unexplained: of the densities of squares of 16 pixels a side, the share of the variance that its estimates left
            unexplained, 1 - r², each time that it was judged, ``(P,)``; 0 is perfect.
    """

    architecture: Architecture
    number: int
    data: str
    seed: int
    longer: bool
    parameters: int
    flops: int
    loss: np.ndarray
    steps: np.ndarray
    seconds: np.ndarray
    counts: np.ndarray
    truths: np.ndarray
    unexplained: np.ndarray

    @property
    def error(self) -> float:
        """What ranks architectures: :attr:`unexplained` at the end of the training."""
        return float(self.unexplained[-1])

    @property
    def curve(self) -> np.ndarray:
        """The mean absolute error each time that it was judged, ``(P,)``."""
        errors: np.ndarray = np.abs(self.counts - self.truths).mean(1)
        return errors

    @property
    def mae(self) -> float:
        """The mean absolute error at the end."""
        return float(self.curve[-1])

    @property
    def corrected(self) -> float:
        """The same after one factor, which fits the estimates to the truths: a short training leaves a bias."""
        estimates, truths = self.counts[-1], self.truths
        factor = (estimates @ truths) / (estimates @ estimates)
        error = float(np.abs(factor * estimates - truths).mean())
        return error if np.isfinite(error) else float("inf")


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of trained architectures, in the order in which the architectures were drawn.

    Args:
        rows: a training each.
        architectures: by their number.
        recipe: how all were trained, plain JSON.
    """

    rows: tuple[Row, ...]
    architectures: tuple[Architecture, ...]
    recipe: dict[str, Any]

    @property
    def data(self) -> tuple[str, ...]:
        """The names of the data sets."""
        return tuple(dict.fromkeys(row.data for row in self.rows))

    def select(self, data: str, *, seed: int | None = None, longer: bool = False) -> list[Row]:
        """The rows of a data set, of one seed or of all.

        Raises:
            SettingError: the table has no such data set.
        """
        if data not in self.data:
            raise SettingError(f"data: {data!r} is not in the table; it has {', '.join(self.data) or 'no rows'}")
        return [row for row in self.rows if (row.data, row.longer) == (data, longer) and seed in (None, row.seed)]

    def errors(
        self, data: str, *, seed: int | None = None, longer: bool = False, figure: str = "error"
    ) -> dict[int, float]:
        """Number of an architecture → its error at the end of the training, the mean over its seeds.

        Args:
            data: name of a data set.
            seed: of the training; None for all.
            longer: whether the longer trainings are meant.
            figure: ``error``, ``mae`` or ``corrected``, see :class:`Row`.
        """
        errors: dict[int, list[float]] = {}
        for row in self.select(data, seed=seed, longer=longer):
            errors.setdefault(row.number, []).append(getattr(row, figure))
        return {number: float(np.mean(some)) for number, some in errors.items()}

    def number(self, architecture: Architecture) -> int:
        """The number of an architecture in the table; edges that hold ``none`` are as good as no edges.

        Raises:
            ArchitectureError: the table has it not.
        """
        number = self._numbers.get(edges_of(architecture))
        if number is None:
            raise ArchitectureError(f"architecture: is none of the {len(self.architectures)} that the table trained")
        return number

    def of(self, architecture: Architecture) -> list[Row]:
        """All rows of an architecture; raises as :meth:`number`."""
        number = self.number(architecture)
        return [row for row in self.rows if row.number == number]

    @cached_property
    def _numbers(self) -> dict[Any, int]:
        return {edges_of(architecture): number for number, architecture in enumerate(self.architectures)}


def edges_of(architecture: Architecture) -> tuple[tuple[str, int, int, str], ...]:
    """What tells architectures apart, as one loss serves all: kind of cell, node, source, operation of each edge."""
    edges = [
        (kind.name, node, source, operation)
        for kind in CELL_KINDS.values()
        for node, sources in architecture.cell(kind).items()
        for source, operation in sources.items()
        if operation != NONE  # which is no edge
    ]
    return tuple(sorted(edges))


def open_table(path: str | Path | None = None) -> Table:
    """Read a table of trained architectures.

    Args:
        path: of its file; None for ours.

    Raises:
        DataError: it is missing, truncated, or no table of this version.
    """
    path = OURS if path is None else Path(path)
    remedy = "give a table that python -m benchmarks.table pack wrote"
    if path == OURS and not OURS.is_file():
        raise DataError(f"{OURS}: this installation brings no table; grow one (benchmarks/table/README.md) or {remedy}")
    try:
        check_file(path)
        with np.load(path, allow_pickle=False) as arrays:
            header = json.loads(arrays["header"].tobytes())
            if header["format"] != FORMAT:
                raise DataError(f"{path}: format is {header['format']!r}, expected {FORMAT!r}; {remedy}")
            architectures = tuple(architecture_of(choices) for choices in header["architectures"])
            rows = [row for group in header["groups"] for row in _rows(group, arrays, architectures)]
    except (OSError, EOFError, BadZipFile, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{path}: cannot be read as a table ({str(error).splitlines()[0]}); {remedy}") from error
    rows.sort(key=lambda row: row.number)
    return Table(tuple(rows), architectures, header["recipe"])


def _rows(group: dict[str, Any], arrays: Any, architectures: tuple[Architecture, ...]) -> Iterator[Row]:
    """The rows of a data set and a length."""
    shared = {name: arrays[f"{group['name']}/{name}"].astype(float) for name in SHARED}
    curves = {name: arrays[f"{group['name']}/{name}"].astype(float) for name in CURVES}
    for place, (number, seed, parameters, flops) in enumerate(arrays[f"{group['name']}/facts"].tolist()):
        yield Row(
            architecture=architectures[number],
            number=number,
            data=group["data"],
            seed=seed,
            longer=group["longer"],
            parameters=parameters,
            flops=flops,
            **{name: values[place] for name, values in curves.items()},
            **shared,
        )


def architecture_of(choices: Any) -> Architecture:
    """Of an extraction cell, a fusion cell and a pyramid in plain JSON, which made the numbers of the nodes text."""
    extraction, fusion = (
        {int(node): {int(source): name for source, name in edges.items()} for node, edges in cell.items()}
        for cell in choices[:2]
    )
    return Architecture(extraction, fusion, choices[2])
