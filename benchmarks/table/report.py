"""How well the table's recipe ranks: between two seeds, and against a training of ten times the length."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.stats import rankdata

from benchmarks.table.table import Table

RESAMPLES = 2000
#: architectures over which two seeds are compared: the first ones, which are as good as any
HUNDRED = 100

Figures = Mapping[int, float]


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """The rank correlation of two ``(N,)``; ties share their rank."""
    ranks = rankdata(one), rankdata(other)
    if min(values.std() for values in ranks) == 0:
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def interval(one: np.ndarray, other: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Of :func:`spearman`, 95 %: percentiles of resampled architectures."""
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(one), size=(RESAMPLES, len(one)))
    low, high = np.nanpercentile([spearman(one[some], other[some]) for some in drawn], [2.5, 97.5])
    return float(low), float(high)


def compared(what: str, one: Figures, other: Figures) -> str:
    """A line: the rank correlation over the architectures that both have."""
    common = [number for number in one if number in other]
    if len(common) < 4:
        return f"  {what}: {len(common)} architectures are too few"
    first, second = (np.array([figures[number] for number in common]) for figures in (one, other))
    low, high = interval(first, second)
    return f"  {what}: {spearman(first, second):.2f}   95% in [{low:.2f}, {high:.2f}]   ({len(common)} architectures)"


def seed_noise(table: Table, data: str) -> tuple[float, float]:
    """Standard deviations of the logarithm of the error: between architectures, and between two seeds of one."""
    pairs = _pairs(table, data)
    logs = np.log(pairs[np.isfinite(pairs).all(1)])
    within = float(np.sqrt(np.mean(np.diff(logs, axis=1) ** 2) / 2))
    return float(np.sqrt(max(0.0, logs.mean(1).var(ddof=1) - within**2 / 2))), within


def lines(table: Table) -> list[str]:
    """The report."""
    found: list[str] = []
    for data in table.data:
        rows = table.select(data)
        first, second = (table.mae(data, seed=seed) for seed in (0, 1))
        both, longer = table.mae(data), table.mae(data, longer=True) if table.select(data, longer=True) else {}
        errors = np.array(list(both.values()))
        constant = np.abs(rows[0].truths - rows[0].truths.mean()).mean()
        found += [
            f"{data}: {len(rows)} short rows and {len(table.select(data, longer=True))} longer ones",
            f"  MAE from {errors.min():.1f} to {errors.max():.1f}, median {np.median(errors):.1f} "
            f"(always the judged images' own mean: {constant:.1f})",
            f"  seconds of training a row: {np.mean([row.seconds[-1] for row in rows]):.1f}",
            compared("seed 0 with seed 1, first hundred", _first(first), _first(second)),
            compared("seed 0 with ten times the length", first, longer),
            compared("seed 1 with ten times the length", second, longer),
            compared("both seeds with ten times the length", both, longer),
        ]
        if len(both) >= 4 and len(_pairs(table, data)) >= 4:
            between, within = seed_noise(table, data)
            found.append(f"  deviation of log MAE: {between:.2f} between architectures, {within:.2f} between seeds")
        for name, of in SIZES.items():
            facts = {row.number: of(row) for row in rows}
            found.append(compared(f"{name} with MAE", facts, both))
            found.append(compared(f"{name} with MAE of ten times the length", facts, longer))
    if len(table.data) == 2:
        found.append("between the data sets:")
        found.append(compared("both seeds", *(table.mae(data) for data in table.data)))
    return found


#: what a row's figure is set beside
SIZES: dict[str, Callable[..., float]] = {
    "parameters": lambda row: row.parameters,
    "FLOPs": lambda row: row.flops,
    "max poolings in the loss": lambda row: sum(name.startswith("max") for name in row.architecture.pooling),
    "skips": lambda row: sum(
        operation == "skip"
        for cell in (row.architecture.extraction, row.architecture.fusion)
        for edges in cell.values()
        for operation in edges.values()
    ),
}


def _first(figures: Figures) -> Figures:
    return {number: figure for number, figure in figures.items() if number < HUNDRED}


def _pairs(table: Table, data: str) -> np.ndarray:
    """The errors with both seeds, ``(A, 2)``."""
    first, second = (table.mae(data, seed=seed) for seed in (0, 1))
    return np.array([[first[number], second[number]] for number in first if number in second]).reshape(-1, 2)
