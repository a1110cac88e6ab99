"""How many readers a stream has: `watch.lua`."""

from __future__ import annotations

from ..base import RelayOptions
from ..requests import Answer, Watch


class Presence:
    """By stream and server: how many read there, and until when (ms) that counts.

    Args:
        options: of the store.
    """

    def __init__(self, options: RelayOptions) -> None:
        self._ttl = options.watch_ttl
        self._streams: dict[str, dict[str, tuple[int, int]]] = {}

    def execute(self, request: Watch, now: int) -> Answer:
        """Carry out one request."""
        told = self._streams.get(request.stream_id, {})
        if request.server:
            told[request.server] = (request.readers, now + self._ttl)
        counts = {name: each for name, each in told.items() if each[0] and each[1] > now}
        if counts:
            self._streams[request.stream_id] = counts
        else:
            self._streams.pop(request.stream_id, None)
        return Answer("ok", sum(number for number, _ in counts.values()))
