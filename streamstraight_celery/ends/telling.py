"""Tell the application that a stream has ended, then note that in the stream's state.

Whoever ends a stream calls `tell_application`: the producer, its worker's parent process, a relay
server, a web route. What dies or fails in between is left in the list, and the sweep tells it.
"""

from __future__ import annotations

import logging
from typing import Any, Literal

from celery import Celery

from ..errors import RelayUnavailableError
from ..relays import Relay
from ..relays.requests import Delist, Enlist, NoteTold, Read
from .on_end import send

log = logging.getLogger(__name__)

Told = Literal["told", "failed", ""]


def tell_application(
    app: Celery, relay: Relay, stream_id: str, *, seen: int = 0, connection: Any = None
) -> Told:
    """Enqueue the stream's `on_end` task if it has ended and nobody was told.

    Never raises: what fails is logged, and left to the sweep.

    Args:
        app: whose broker is used.
        relay: where the stream is.
        stream_id: the stream.
        seen: its mark in the list, which it has to have still; 0: whatever it has.
        connection: to the broker; default: one of the app's pool.

    Returns:
        `told`: the task was enqueued now. `failed`: it could not be. `""`: nothing is to be told.
    """
    try:
        page = relay.read(Read(stream_id))
        if page is None or not page.state.end or not page.state.on_end or page.state.end_told:
            return ""
        mark = relay.call(Enlist(stream_id, True, seen))
        if mark.kind != "ok":
            return ""  # another sweep tells it
        send(app, stream_id, page.state, connection)
    except Exception as error:
        known = isinstance(error, RelayUnavailableError)
        log.warning(
            "stream %s: the end is not told yet, the sweep will try again: %s", stream_id, error,
            exc_info=None if known else error, extra={"stream_id": stream_id},
        )  # fmt: skip
        return "failed"
    _note(relay, stream_id, page.state.attempt, page.state.ended, mark.mark)
    return "told"


def _note(relay: Relay, stream_id: str, attempt: int, ended: int, mark: int) -> None:
    """Only after the task was enqueued: what is noted is never told again."""
    try:
        relay.execute([NoteTold(stream_id, attempt, ended), Delist(stream_id, mark)])
    except RelayUnavailableError as error:
        log.warning(
            "stream %s: its end was told, and will be once more: %s", stream_id, error,
            extra={"stream_id": stream_id},
        )  # fmt: skip
