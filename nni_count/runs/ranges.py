"""The numbers that a setting may have, written beside it: ``learning_rate: Annotated[float, Range(0)] = 1e-3``.

The command line reads them from the sources, before anything heavy is imported; classes and functions :func:`check`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from numbers import Integral, Real
from typing import Any, get_args, get_origin, get_type_hints

from nni_count.errors import SettingError


@dataclass(frozen=True)
class Range:
    """Numbers from ``least`` to ``most``, without the end where ``above`` or ``below``; each of several."""

    least: float
    most: float = math.inf
    above: bool = False
    below: bool = False
    step: int = 1

    def holds(self, value: Any, whole: bool) -> bool:
        """Whether a value lies within; ``whole`` where it must be an integer."""
        if isinstance(value, (list, tuple)):
            return all(self.holds(one, whole) for one in value)
        if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
            return False
        number: Any = value
        low = number > self.least if self.above else number >= self.least
        high = number < self.most if self.below else number <= self.most
        return bool(low and high and math.isfinite(number)) and not (whole and number % self.step)

    def __str__(self) -> str:
        kind = f"a multiple of {self.step}" if self.step > 1 else "a number"
        low = f"{'above' if self.above else 'from'} {self.least:g}"
        high = "" if self.most == math.inf else f" to {'below ' if self.below else ''}{self.most:.10g}"
        return f"give {kind} {low}{high}"


def check(of: Callable[..., Any], values: Mapping[str, Any], prefix: str = "", **names: str) -> None:
    """Refuse with one :class:`SettingError` all values that lie outside the ranges beside their names.

    Args:
        of: the class or function that writes them beside its fields or parameters.
        values: by name; None lies within the range of what may be None.
        prefix: of the names, as users know them.
        names: those that are others.
    """
    faults = [
        f"{names.get(name, prefix + name)}: {values[name]!r:.100}; {allowed}"
        for name, (allowed, kinds) in _ranges(of).items()
        if name in values and not _holds(allowed, kinds, values[name])
    ]
    if faults:
        raise SettingError("; ".join(faults))


def _holds(allowed: Range, kinds: Collection[Any], value: Any) -> bool:
    if value is None:
        return type(None) in kinds
    several = isinstance(value, (list, tuple))
    return (tuple in kinds or not several) and allowed.holds(value, int in kinds)


@cache
def _ranges(of: Callable[..., Any]) -> dict[str, tuple[Range, Collection[Any]]]:
    """Of each setting that has one, its range and the kinds of values that it may have."""
    hints = get_type_hints(of, include_extras=True)
    found = {name: list(_parts(hint)) for name, hint in hints.items()}
    ranges = {name: next((part for part in parts if isinstance(part, Range)), None) for name, parts in found.items()}
    return {name: (allowed, found[name]) for name, allowed in ranges.items() if allowed}


def _parts(hint: Any) -> Iterator[Any]:
    """All that a hint is made of."""
    yield get_origin(hint) or hint
    for part in (*get_args(hint), *getattr(hint, "__metadata__", ())):
        yield from _parts(part)
