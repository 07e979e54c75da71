"""What trainings would have given, for searches that train nothing."""

from __future__ import annotations

from zlib import crc32

import numpy as np

from nni_count.architecture import Architecture
from nni_count.comparing.surrogate import Surrogate
from nni_count.comparing.trained import Table, edges_of
from nni_count.errors import ArchitectureError


class Answers:
    """The errors of architectures on a data set: those of the table where it has trained them, else its surrogate's.

    Args:
        table: of trained architectures.
        data: name of a data set.
        surrogate: fitted to it; None where only trained architectures are asked for.
    """

    def __init__(self, table: Table, data: str, surrogate: Surrogate | None = None):
        self.data = data
        self.surrogate = surrogate
        rows = table.select(data)
        worst = max((row.error for row in rows if np.isfinite(row.error)), default=np.inf)
        self._errors: dict[object, list[float]] = {}
        for row in rows:  # a training that ended in no number is as bad as the worst
            self._errors.setdefault(edges_of(row.architecture), []).append(min(row.error, worst))

    def ask(self, architecture: Architecture, seed: int) -> tuple[float, float]:
        """What a training gives, and what trainings give on average.

        An architecture and a seed give the same to everyone who asks: one of the architecture's trainings, or the
        surrogate's error with noise as between two seeds.

        Raises:
            ArchitectureError: it was not trained, and there is no surrogate.
        """
        edges = edges_of(architecture)
        generator = np.random.default_rng((seed, crc32(repr(edges).encode())))
        if edges in self._errors:
            errors = self._errors[edges]
            return errors[generator.integers(len(errors))], float(np.mean(errors))
        if self.surrogate is None:
            raise ArchitectureError(
                f"architecture: is none of the {len(self._errors)} that the table trained on {self.data}"
            )
        error = float(self.surrogate.predict([architecture])[0])
        return error * float(np.exp(generator.normal(0, self.surrogate.noise))), error

    @property
    def lowest(self) -> float:
        """The lowest error of an architecture that was trained, the mean of its trainings."""
        return min(float(np.mean(errors)) for errors in self._errors.values())
