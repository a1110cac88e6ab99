"""A clock that stands still until a test moves it."""

from __future__ import annotations


class FakeClock:
    """The relay's time in a test, seconds."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = start

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            ValueError: backwards.
        """
        if seconds < 0:
            raise ValueError("a clock does not run backwards")
        self._now += seconds
