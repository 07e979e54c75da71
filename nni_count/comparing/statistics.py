"""Which strategies can be told apart with so many runs, and what ranks alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy.stats import permutation_test, rankdata, tukey_hsd

from nni_count.comparing.results import Result, by_strategy

RANDOM = "random"  # the name of random search, in every result
LEVEL = 0.05  # of significance, for all pairs together
RESAMPLES = 2000


def told_apart(results: Sequence[Result]) -> list[tuple[str, str, float]]:
    """Pairs of strategies with the p-value of Tukey's HSD test of their mean main metrics, for all pairs at once.

    Strategies with a single run are left out; p is 1 where runs do not differ at all.
    """
    groups = {name: [r.figure for r in group] for name, group in by_strategy(results).items() if len(group) > 1}
    if len(groups) < 2:
        return []
    with np.errstate(invalid="ignore"):  # no spread at all
        values = np.nan_to_num(tukey_hsd(*groups.values()).pvalue, nan=1.0)
    names = list(groups)
    return [(a, b, float(values[names.index(a), names.index(b)])) for a, b in combinations(names, 2)]


def verdict(results: Sequence[Result]) -> str:
    """In words: which strategies can be told apart with so many runs, where they stand beside random search on the
    same seeds, and how much of all that chance in a training hides.
    """
    pairs = told_apart(results)
    single = [name for name, group in by_strategy(results).items() if len(group) < 2]
    lines = []
    if single:
        lines.append(f"One run alone says nothing about a strategy: {', '.join(single)}.")
    for apart, words in ((True, "Different"), (False, "Cannot be told apart with so many seeds")):
        chosen = [f"{a} and {b} (p = {p:.2g})" for a, b, p in pairs if (p < LEVEL) is apart]
        if chosen:
            lines.append(f"{words}: {', '.join(chosen)}.")
    if pairs:
        metric = results[0].metric.upper()
        lines.append(f"(Tukey's HSD test of the means of {metric}, all pairs at once, at the level {LEVEL:.0%}.)")
    return " ".join([*lines, *_beside_random(results), *_chance(results)])


def _beside_random(results: Sequence[Result]) -> list[str]:
    """The strategies' differences from random search, over the seeds that all of them have."""
    runs = {name: {str(r.seed): r.figure for r in group} for name, group in by_strategy(results).items()}
    seeds = sorted(set.intersection(*map(set, runs.values())))
    if RANDOM not in runs or len(runs) < 2 or len(seeds) < 2:
        return []
    figures = {name: np.array([of[seed] for seed in seeds]) for name, of in runs.items()}
    beside = paired(figures, figures.pop(RANDOM))
    words = [
        f"{name} {found.difference:+.3g} ({found.interval[0]:+.3g} to {found.interval[1]:+.3g}, p = {found.p:.2g})"
        for name, found in beside.items()
    ]
    return [f"Beside {RANDOM}, on the same {len(seeds)} seeds: {', '.join(words)}; p after Holm, intervals of 95%."]


def _chance(results: Sequence[Result]) -> list[str]:
    """What two trainings of one architecture differ by, and the ceiling that this sets."""
    trainings = [result.facts.get("trainings", []) for result in results]
    several = [np.array(values, float) for values in trainings if len(values) > 1]
    if len(several) < 2:
        return ["How far two trainings of one architecture differ is not known (nni-count trial --retrainings 2)."]
    number = float(np.mean([len(values) for values in several]))
    within = float(np.mean([values.var(ddof=1) for values in several]))
    of_means = float(np.var([values.mean() for values in several], ddof=1))
    ceiling = max(0.0, 1 - within / number / of_means) if of_means else 0.0
    return [
        f"Noise ceiling: trainings of one architecture deviate by {within**0.5:.3g}; of the variance between the runs' "
        f"figures, {ceiling:.0%} is more than that chance."
    ]


@dataclass(frozen=True)
class Paired:
    """A method beside another on the same seeds.

    Args:
        difference: of the means.
        interval: of that, 95 %, over resampled seeds.
        p: of no difference, by random changes of signs; after Holm where there are several.
    """

    difference: float
    interval: tuple[float, float]
    p: float


def paired(figures: Mapping[str, np.ndarray], baseline: np.ndarray, seed: int = 0) -> dict[str, Paired]:
    """Set methods beside a baseline, seed by seed, ``(S,)`` each; the p-values are of all together (Holm, 1979)."""
    found = {}
    for name, values in figures.items():
        differences = values - baseline
        p = 1.0
        if np.any(differences):
            p = permutation_test(
                (differences,), np.mean, permutation_type="samples", n_resamples=9999, rng=np.random.default_rng(seed)
            ).pvalue
        low, high = mean_interval(differences[:, None], seed)[:, 0]
        found[name] = Paired(float(differences.mean()), (float(low), float(high)), float(p))
    largest = 0.0
    for place, name in enumerate(sorted(found, key=lambda name: found[name].p)):
        largest = max(largest, min(1.0, (len(found) - place) * found[name].p))
        found[name] = replace(found[name], p=largest)
    return found


def mean_interval(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """The means of the columns of ``(S, T)``, 95 %: percentiles over resampled rows, ``(2, T)``."""
    number = len(values)
    weights = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), RESAMPLES)
    ends: np.ndarray = np.percentile(weights @ values / number, [2.5, 97.5], axis=0)
    return ends


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """The rank correlation of two ``(N,)``; ties share their rank."""
    return float(_spearman(one[None], other[None])[0])


def correlation_interval(one: np.ndarray, other: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Of :func:`spearman`, 95 %: percentiles over resampled pairs."""
    drawn = np.random.default_rng(seed).integers(len(one), size=(RESAMPLES, len(one)))
    found = _spearman(one[drawn], other[drawn])
    low, high = np.percentile(found[np.isfinite(found)], [2.5, 97.5]) if np.isfinite(found).any() else (np.nan, np.nan)
    return float(low), float(high)


def _spearman(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of each row of two ``(R, N)``, ``(R,)``; NaN where all are equal."""
    first, second = (rankdata(values, axis=1) - (values.shape[1] + 1) / 2 for values in (one, other))
    with np.errstate(invalid="ignore"):
        found: np.ndarray = (first * second).sum(1) / np.sqrt((first**2).sum(1) * (second**2).sum(1))
    return found


def seed_noise(pairs: np.ndarray) -> tuple[float, float]:
    """Standard deviations of the logarithm of errors ``(A, 2)``: between architectures, between two seeds of one.

    By how much a seed is worse for all architectures is left out: it ranks none.
    """
    logs = np.log(pairs[np.isfinite(pairs).all(1)])
    logs -= logs.mean(0)
    within = float(np.sqrt(np.mean(np.diff(logs, axis=1) ** 2) / 2))
    return float(np.sqrt(max(0.0, logs.mean(1).var(ddof=1) - within**2 / 2))), within
