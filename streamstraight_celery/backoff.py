"""How long to wait before the next try. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """Waits between failures in a row: each twice as long as the one before, up to a limit.

    Args:
        first: seconds after the first failure.
        most: seconds at most.
        random: in [0, 1): shortens each wait by chance, so that many clients do not come at once.
    """

    def __init__(
        self, first: float, most: float, random: Callable[[], float] | None = None
    ) -> None:
        self.most = most
        self._first = first
        self._random = random
        self._failures = 0

    def reset(self) -> None:
        """Something went well."""
        self._failures = 0

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        ceiling: float = min(self.most, self._first * 2 ** min(self._failures, 16))
        self._failures += 1
        return ceiling if self._random is None else self._random() * ceiling
