"""Which strategies can be told apart with so many runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.stats import tukey_hsd

from nni_count.comparing.results import Result, by_strategy

LEVEL = 0.05  # of significance, for all pairs together


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
    """In words, which strategies can be told apart with so many runs."""
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
    return " ".join(lines)
