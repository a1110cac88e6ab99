"""`lua/hold.lua` for the relay in memory."""

from __future__ import annotations

from collections.abc import Callable

from ..conversation import CONVERSATION_TTL, Hold
from ..requests import Answer


class Conversations:
    """The streams that conversations name; `now` gives milliseconds."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._named: dict[str, tuple[str, int]] = {}

    def hold(self, request: Hold, ttl: int) -> Answer:
        """Carry out the request; the store's lock is held."""
        key, stream = request.key, request.names
        current, expires = self._named.get(key, ("", 0))
        if expires <= self._now():
            current = ""
        if stream and current in (request.instead_of, stream):
            self._named[key] = (stream, self._now() + max(ttl, CONVERSATION_TTL))
            return Answer("ok")
        if not stream and current and current == request.instead_of:
            del self._named[key]
            return Answer("ok")
        return Answer("held", reason=current) if current else Answer("unknown")

    def sweep(self) -> None:
        """Forget those whose time is over."""
        now = self._now()
        self._named = {key: each for key, each in self._named.items() if each[1] > now}
