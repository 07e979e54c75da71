"""How well the table's recipe ranks: between two seeds, and against a training of ten times the length."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.stats import rankdata

from nni_count.comparing.trained import Table

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


def seed_noise(pairs: np.ndarray) -> tuple[float, float]:
    """Standard deviations of the logarithm of errors ``(A, 2)``: between architectures, between two seeds of one."""
    logs = np.log(pairs[np.isfinite(pairs).all(1)])
    within = float(np.sqrt(np.mean(np.diff(logs, axis=1) ** 2) / 2))
    return float(np.sqrt(max(0.0, logs.mean(1).var(ddof=1) - within**2 / 2))), within


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
        for corrected in (False, True):
            found += _ranks(table, data, corrected)
    if len(table.data) == 2:
        found.append("between the data sets:")
        found.append(compared("both seeds", *(table.mae(data, corrected=True) for data in table.data)))
    return found


def _ranks(table: Table, data: str, corrected: bool) -> list[str]:
    """How well an error ranks, and what it goes with."""
    name = "MAE after one factor" if corrected else "MAE"
    first, second, both = (table.mae(data, seed=seed, corrected=corrected) for seed in (0, 1, None))
    longer = table.mae(data, longer=True, corrected=corrected)
    errors = np.array(list(both.values()))
    found = [
        f"  {name} from {errors.min():.2f} to {errors.max():.2f}, median {np.median(errors):.2f}",
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
