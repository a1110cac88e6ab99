"""Tell the store how many readers this process serves of each stream."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable

from ...errors import RelayUnavailableError
from ...relays.base import AsyncRelay
from ...relays.requests import WATCH_TTL, Watch
from .feed import Feed

# Seconds after which a number that has not changed is told again: twice before it counts no more.
AGAIN = WATCH_TTL / 1000 / 3
AT_ONCE = 500  # streams in one round trip


class Presence:
    """Notes what was told, so that only changes are, and now and then the rest.

    Args:
        relay: where the streams are.
        now: the clock, seconds.
    """

    def __init__(self, relay: AsyncRelay, now: Callable[[], float]) -> None:
        self._relay = relay
        self._now = now
        self._server = secrets.token_hex(8)
        self._told: dict[str, tuple[int, float]] = {}

    async def tell(self, feeds: Iterable[Feed]) -> None:
        """Tell what has changed. What the store does not take is told the next time."""
        counts: Counter[str] = Counter()
        for feed in feeds:
            counts[feed.stream_id] += len(feed.readers)
        now = self._now()
        due = [
            Watch(name, self._server, counts[name])
            for name in counts.keys() | self._told.keys()
            if self._is_due(self._told.get(name, (0, now)), counts[name], now)
        ]
        for start in range(0, len(due), AT_ONCE):
            part = due[start : start + AT_ONCE]
            try:
                answers = await self._relay.execute(part)
            except RelayUnavailableError:
                return
            for watch, answer in zip(part, answers, strict=True):
                if answer.kind != "ok":
                    continue
                self._told[watch.stream_id] = (watch.readers, now)
                if not watch.readers:
                    del self._told[watch.stream_id]

    @staticmethod
    def _is_due(told: tuple[int, float], count: int, now: float) -> bool:
        before, at = told
        return before != count or (count > 0 and now - at >= AGAIN)
