"""The sweep: end the streams of lost producers, and tell what was not told in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from celery import Celery

from ..relays import Relay
from ..relays.base import StreamState
from ..relays.index import Query
from ..relays.requests import LISTS, Delist, Enlist, Listed, Read, Reap
from .telling import tell_application

AT_ONCE = 250
MOST_LOST = 1_000_000
# So old a mark is renewed, because the list forgets it after a week; ms.
LIST_AGAIN = 24 * 3_600_000
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
        woken: suspended tasks that it has begun again.
    """

    looked: int
    ended: int
    told: int
    failed: int
    lost: int
    woken: int


def sweep(
    app: Celery,
    relay: Relay,
    on_ended: Callable[[str], object] = str,
    wake: Callable[[str], int] = len,
) -> Swept:
    """Look at each stream that is active or whose end is to be told. Safe at any time, anywhere.

    Args:
        app: whose broker is used.
        relay: where the streams are.
        on_ended: told the id of each stream that has ended.
        wake: sends what is due to suspended tasks of a conversation, and says how many messages.

    Raises:
        RelayUnavailableError: the relay does not answer.
    """
    swept = Swept(looked=0, ended=0, told=0, failed=0, lost=0, woken=0)
    seen: set[str] = set()
    suspended: set[str] = set()
    for name in LISTS:
        rows, now = _listed(relay, name)
        seen.update([stream_id for stream_id, _ in rows])
        for start in range(0, len(rows), AT_ONCE):
            part = rows[start : start + AT_ONCE]
            pages = relay.read_all([Read(stream_id) for stream_id, _ in part])
            for (stream_id, mark), page in zip(part, pages, strict=True):
                swept["looked"] += 1
                if page is not None:
                    if waits := page.state.released and page.state.conversation:
                        suspended.add(waits)
                        if now - mark > LIST_AGAIN:
                            relay.call(Enlist(stream_id, seen=mark))
                    if _look(app, relay, stream_id, mark, page.state, swept):
                        on_ended(stream_id)
                elif now - mark > SETTLE:
                    relay.call(Delist(stream_id, mark))
    # Those of which nobody is told, and what a store that has lost a list has kept.
    query = Query(states=("active",), lost=True, limit=MOST_LOST)
    for stream_id, state in relay.find(query).streams:
        if stream_id not in seen:
            swept["looked"] += 1
            if _look(app, relay, stream_id, 0, state, swept):
                on_ended(stream_id)
    swept["woken"] = sum([wake(name) for name in suspended])
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
    """Look at a stream; whether it has ended."""
    if not state.end:
        if state.lease_left >= 0 or not _end(relay, stream_id, swept):
            return False
    elif state.end_told or not state.on_end:
        relay.call(Delist(stream_id, mark))
        return True
    told = tell_application(app, relay, stream_id, seen=mark)
    if told:
        swept[told] += 1
    return True


def _end(relay: Relay, stream_id: str, swept: Swept) -> bool:
    """End a stream whose lease is over, if that is due; whether it was ended."""
    answer = relay.call(Reap(stream_id))
    swept["lost"] += answer.kind == "alive"
    swept["ended"] += answer.kind == "ended"
    return answer.kind == "ended"
