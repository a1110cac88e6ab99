"""A relay in memory that fails, or asks for a stop, when a test wants it to."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import RelayUnavailableError
from ..relays.base import Page, Relay
from ..relays.memory.relay import MemoryRelay
from ..relays.memory.store import MemoryStore
from ..relays.requests import Answer, Append, Read, Request, Stop


@dataclass(slots=True)
class Faults:
    """Faults to inject, counted in chunks that the store has accepted; None: never.

    Attributes:
        stop_after: stop the stream.
        relay_down_after: the store stops answering, until `relay_up()`.
        lose_answer_after: the relay takes a flush, and its answer is lost, once.
    """

    stop_after: int | None = None
    relay_down_after: int | None = None
    lose_answer_after: int | None = None


class FaultyRelay(Relay):
    """A relay in memory, and its faults."""

    def __init__(self, store: MemoryStore, faults: Faults) -> None:
        self._relay = MemoryRelay(store)
        self._faults = faults
        self._taken: dict[str, int] = {}
        self._down = False
        self._lock = threading.Lock()

    def relay_up(self) -> None:
        """The relay answers again."""
        self._down, self._faults.relay_down_after = False, None

    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        with self._lock:
            if self._down:
                raise RelayUnavailableError("the stream store is down, as the test asked for")
            answers = [self._execute(request) for request in requests]
            if self._is_lost(requests):
                raise RelayUnavailableError("the store's answer was lost, as the test asked for")
        return answers

    def read(self, read: Read) -> Page | None:
        return self._relay.read(read)

    @property
    def places(self) -> Sequence[str]:
        return self._relay.places

    def _execute(self, request: Request) -> Answer:
        answer = self._relay.call(request)
        if isinstance(request, Append) and answer.kind in ("ok", "duplicate"):
            self._taken[request.stream_id] = answer.last_seq
            if _reached(self._faults.stop_after, answer.last_seq):
                self._relay.call(Stop(request.stream_id))
                return answer._replace(stop=True)
            self._down = _reached(self._faults.relay_down_after, answer.last_seq)
        return answer

    def _is_lost(self, requests: Sequence[Request]) -> bool:
        limit = self._faults.lose_answer_after
        for request in requests:
            if isinstance(request, Append) and _reached(limit, self._taken.get(request.stream_id)):
                self._faults.lose_answer_after = None
                return True
        return False


def _reached(limit: int | None, taken: int | None) -> bool:
    return limit is not None and taken is not None and taken >= limit
