"""How well the table's recipe ranks: between two seeds, and against a training of ten times the length."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from nni_count.comparing.statistics import correlation_interval, seed_noise, spearman
from nni_count.comparing.surrogate import fit_surrogate
from nni_count.comparing.trained import Table
from nni_count.errors import DataError

#: architectures over which two seeds are compared: the first ones, which are as good as any
HUNDRED = 100

#: by which rows are compared, and what they are called
FIGURES = {"error": "error (1 - r² of local densities)", "mae": "MAE", "corrected": "MAE after one factor"}

Figures = Mapping[int, float]


def compared(what: str, one: Figures, other: Figures) -> str:
    """A line: the rank correlation over the architectures that both have."""
    common = [number for number in one if number in other]
    if len(common) < 4:
        return f"  {what}: {len(common)} architectures are too few"
    first, second = (np.array([figures[number] for number in common]) for figures in (one, other))
    low, high = correlation_interval(first, second)
    return f"  {what}: {spearman(first, second):.2f}   95% in [{low:.2f}, {high:.2f}]   ({len(common)} architectures)"


def lines(table: Table) -> list[str]:
    """The report."""
    found: list[str] = []
    for data in table.data:
        rows = table.select(data)
        constant = np.abs(rows[0].truths - rows[0].truths.mean()).mean()
        found += [
            f"{data}: {len(rows)} short rows and {len(table.select(data, longer=True))} longer ones",
            f"  seconds of training a row: {np.mean([row.seconds[-1] for row in rows]):.1f}",
            f"  MAE of always the judged crops' own mean: {constant:.1f}",
        ]
        for figure in FIGURES:
            found += _ranks(table, data, figure)
        try:
            found.append(f"  {fit_surrogate(table, data)}")
        except DataError as error:
            found.append(f"  {error}")
    if len(table.data) == 2:
        found.append("between the data sets:")
        found.append(compared("both seeds", *(table.errors(data) for data in table.data)))
    return found


def _ranks(table: Table, data: str, figure: str) -> list[str]:
    """How well an error ranks, and what it goes with."""
    name = FIGURES[figure]
    first, second, both = (table.errors(data, seed=seed, figure=figure) for seed in (0, 1, None))
    longer = table.errors(data, longer=True, figure=figure)
    errors = np.array(list(both.values()))
    found = [
        f"  {name} from {errors.min():.3g} to {errors.max():.3g}, median {np.median(errors):.3g}",
        compared("  seed 0 with seed 1, first hundred", _first(first), _first(second)),
        *(
            compared(f"  {what} with ten times the length", some, longer)
            for what, some in (("seed 0", first), ("seed 1", second), ("both seeds", both))
        ),
    ]
    pairs = np.array([[first[number], second[number]] for number in first if number in second]).reshape(-1, 2)
    if len(pairs) >= 4:
        between, within = seed_noise(pairs)
        found.append(f"    deviation of the logarithm: {between:.2f} between architectures, {within:.2f} between seeds")
    for what, of in SIZES.items():
        found.append(compared(f"  {what}", {row.number: of(row) for row in table.select(data)}, both))
    return found


#: what a row's figure is set beside
SIZES: dict[str, Callable[..., float]] = {
    "parameters": lambda row: row.parameters,
    "FLOPs": lambda row: row.flops,
    "skips": lambda row: sum(
        operation == "skip"
        for cell in (row.architecture.extraction, row.architecture.fusion)
        for edges in cell.values()
        for operation in edges.values()
    ),
}


def _first(figures: Figures) -> Figures:
    return {number: figure for number, figure in figures.items() if number < HUNDRED}
