"""The sweep: end the streams of lost producers, and tell what was not told in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from celery import Celery

from ..relays import Relay
from ..relays.base import StreamState
from ..relays.requests import LISTS, Delist, Listed, Read, Reap
from .telling import tell_application

AT_ONCE = 250
# A stream that is listed and not there may be about to be announced, for so long; ms.
SETTLE = 60_000


class Swept(TypedDict):
    """What a sweep has done.

    Attributes:
        looked: streams that it looked at.
        ended: streams that it ended, because their producer is lost or never came.
        told: ends that it told: tasks of `on_end=` that it enqueued.
        failed: ends that could not be told; the next sweep tries again.
        lost: streams whose producer seems to be lost, which a later sweep ends.
    """

    looked: int
    ended: int
    told: int
    failed: int
    lost: int


def sweep(app: Celery, relay: Relay, on_ended: Callable[[str], object] = str) -> Swept:
    """Look at each stream whose end is to be told. Safe at any time, in any number of processes.

    Args:
        app: whose broker is used.
        relay: where the streams are.
        on_ended: told the id of each stream that this ends.

    Raises:
        RelayUnavailableError: the relay does not answer.
    """
    swept = Swept(looked=0, ended=0, told=0, failed=0, lost=0)
    for name in LISTS:
        rows, now = _listed(relay, name)
        for start in range(0, len(rows), AT_ONCE):
            part = rows[start : start + AT_ONCE]
            pages = relay.read_all([Read(stream_id) for stream_id, _ in part])
            for (stream_id, mark), page in zip(part, pages, strict=True):
                swept["looked"] += 1
                if page is not None:
                    if _look(app, relay, stream_id, mark, page.state, swept):
                        on_ended(stream_id)
                elif now - mark > SETTLE:
                    relay.call(Delist(stream_id, mark))
    return swept


def _listed(relay: Relay, name: str) -> tuple[list[tuple[str, int]], int]:
    """Everything in a list, and the store's clock."""
    rows: list[tuple[str, int]] = []
    while True:
        answer = relay.call(Listed(name, len(rows), AT_ONCE))
        rows += answer.listed
        if len(answer.listed) < AT_ONCE:
            return rows, answer.now


def _look(
    app: Celery, relay: Relay, stream_id: str, mark: int, state: StreamState, swept: Swept
) -> bool:
    """Look at a stream; whether it was ended."""
    ended = False
    if not state.end:
        if state.lease_left >= 0:
            return False
        answer = relay.call(Reap(stream_id))
        if answer.kind == "alive":
            swept["lost"] += 1
            return False
        ended = answer.kind == "ended"
        swept["ended"] += ended
    elif state.end_told or not state.on_end:
        relay.call(Delist(stream_id, mark))
        return False
    told = tell_application(app, relay, stream_id, seen=mark)
    if told:
        swept[told] += 1
    return ended
