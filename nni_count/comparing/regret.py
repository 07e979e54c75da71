"""How far simulated searches stay behind the best architecture that any of them or the table has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nni_count.comparing.statistics import LEVEL, RESAMPLES, mean_interval, paired


@dataclass(frozen=True)
class Searches:
    """What became of the searches of a strategy, a seed each.

    Args:
        errors: the lowest among the architectures that a search has tried, after each trial, ``(S, T)``; a mean over
            trainings.
        exported: the error of what it exports, the one whose own training was best, ``(S,)``; likewise a mean.
    """

    errors: np.ndarray
    exported: np.ndarray

    @staticmethod
    def gathered(errors: Sequence[np.ndarray], exported: Sequence[float], trials: int) -> Searches:
        """Of the errors that searches have tried one after another, and of what they export; one that ends before its
        trials are over stays where it is.
        """
        curves = [np.pad(np.minimum.accumulate(some), (0, trials - len(some)), "edge") for some in errors]
        return Searches(np.array(curves), np.array(exported))


@dataclass(frozen=True)
class Simulation:
    """Searches of several strategies on a data set.

    Args:
        data: its name.
        searches: by strategy, all with the same seeds.
        baseline: the strategy that the others are set beside.
        lowest: the lowest error of an architecture of the table.
        about: of the surrogate, a line.
        noise: standard deviation of the logarithm of the error between two seeds.
    """

    data: str
    searches: Mapping[str, Searches]
    baseline: str
    lowest: float
    about: str
    noise: float

    @property
    def best(self) -> float:
        """The lowest error that is known."""
        return min(self.lowest, *(float(some.errors.min()) for some in self.searches.values()))

    def curve(self, strategy: str) -> tuple[np.ndarray, np.ndarray]:
        """The regret after each trial: the mean over seeds, ``(T,)``, and its interval, 95 %, ``(2, T)``."""
        regrets = self.searches[strategy].errors - self.best
        return regrets.mean(0), mean_interval(regrets)

    def curve_rows(self) -> list[dict[str, Any]]:
        """A row a strategy and trial."""
        return [
            {"data_set": self.data, "strategy": name, "trial": trial, "regret": mean, "low": low, "high": high}
            for name in self.searches
            for trial, (mean, low, high) in enumerate(zip(*self._plain(name), strict=True), 1)
        ]

    def _plain(self, strategy: str) -> tuple[list[float], ...]:
        mean, interval = self.curve(strategy)
        return mean.tolist(), *interval.tolist()

    def search_rows(self) -> list[dict[str, Any]]:
        """A row a search."""
        return [
            {"data_set": self.data, "strategy": name, "seed": seed, "lowest": lowest, "exported": exported}
            for name, some in self.searches.items()
            for seed, (lowest, exported) in enumerate(zip(some.errors[:, -1], some.exported, strict=True))
        ]

    def __str__(self) -> str:
        """What stands in ``simulation.md``: strategies, the best first, and which differ from the baseline."""
        trials = next(iter(self.searches.values())).errors.shape[1]
        beside = paired(
            {name: some.exported for name, some in self.searches.items() if name != self.baseline},
            self.searches[self.baseline].exported,
        )
        lines = [
            f"| {self.data} | regret after {trials} trials | exported: error | beside {self.baseline} | p |",
            "|---|---|---|---|---|",
        ]
        for name, some in sorted(self.searches.items(), key=lambda one: float(one[1].exported.mean())):
            mean, interval = self.curve(name)
            cells = [
                f"{mean[-1]:.3g} ({_span(interval[:, -1])})",
                f"{some.exported.mean():.4g} ({_span(mean_interval(some.exported[:, None])[:, 0], 4)})",
                "",
                "",
            ]
            if name in beside:
                cells[2:] = [
                    f"{beside[name].difference:+.3g} ({_span(beside[name].interval)})",
                    f"{beside[name].p:.2g}" + (" *" if beside[name].p < LEVEL else ""),
                ]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        seeds = len(self.searches[self.baseline].exported)
        lines += [
            "",
            f"{seeds} searches a strategy. Regret: of the best tried, above {self.best:.4g}, the lowest error that is "
            "known. Exported: the one whose own training was best; its error is the mean of trainings. In brackets: "
            f"95%, over {RESAMPLES} resamples of the seeds. p: signs of their differences permuted, after Holm; "
            f"* below {LEVEL:g}.",
            "",
            self.about,
        ]
        return "\n".join(lines)


def _span(interval: Sequence[float] | np.ndarray, digits: int = 3) -> str:
    return " to ".join(f"{end:.{digits}g}" for end in interval)
