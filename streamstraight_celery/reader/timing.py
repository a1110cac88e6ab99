"""When to try again, and when to give up. No I/O, no clock."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

BACKOFF_BASE = 0.25
BACKOFF_CAP = 10.0


def _as_it_is(seconds: float) -> float:
    return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Time and chance, so that tests need neither.

    Attributes:
        now: seconds, of a clock that only goes forward.
        time: seconds since the epoch.
        random: in [0, 1): spreads the retries.
        pause: told how long to wait; answers how long to wait really.
    """

    now: Callable[[], float] = time.monotonic
    time: Callable[[], float] = time.time
    random: Callable[[], float] = random.random
    pause: Callable[[float], float] = _as_it_is


class Patience:
    """Tells when it has gone badly for too long.

    Args:
        limit: seconds; None: never too long.
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self._since: float | None = None

    def heard(self) -> None:
        """It goes well."""
        self._since = None

    def over(self, now: float, delay: float = 0.0) -> bool:
        """It goes badly: whether it is time to give up, rather than to try again after `delay`."""
        if self._since is None:
            self._since = now
        return self._limit is not None and now + delay - self._since >= self._limit
