"""Statistics of the benchmark: order of the runs, medians, percentiles, targets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


def interleaved(rounds: int, subjects: Sequence[T]) -> Iterator[tuple[int, T]]:
    """Yield A B C, A B C, ...: what drifts on the machine then hits every subject alike."""
    for number in range(rounds):
        for subject in subjects:
            yield number, subject


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of values that are already in order."""
    if not ordered:
        raise ValueError("no values to take a percentile of")
    if not 0 <= percent <= 100:
        raise ValueError(f"a percentile is between 0 and 100, not {percent}")
    rank = math.ceil(percent / 100 * len(ordered))
    return ordered[max(rank, 1) - 1]


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two in the middle."""
    if not values:
        raise ValueError("no values to take a median of")
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def ratio(value: float, reference: float) -> float | None:
    """`value` in units of `reference`; None when the reference is zero."""
    return value / reference if reference else None


@dataclass(frozen=True)
class Target:
    """A bound on a value, in the value's unit or, with `of`, as a share of another subject's."""

    bound: float
    at_most: bool = True
    of: str | None = None

    def limit(self, other: float | None) -> float | None:
        """The bound in the value's own unit; None while the other subject's value is unknown."""
        if self.of is None:
            return self.bound
        return None if other is None else self.bound * other

    def reached(self, value: float, other: float | None = None) -> bool | None:
        limit = self.limit(other)
        if limit is None:
            return None
        return value <= limit if self.at_most else value >= limit


def at_most(bound: float, of: str | None = None) -> Target:
    return Target(bound, at_most=True, of=of)


def at_least(bound: float, of: str | None = None) -> Target:
    return Target(bound, at_most=False, of=of)
