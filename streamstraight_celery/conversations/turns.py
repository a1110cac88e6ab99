"""Whose turn it is: begin the next stream of a conversation's queue when the one before has ended.

Whoever writes or sees an end calls `advance`, as often as they like: each step may be repeated. A
message that was sent and not noted is sent again; its stream is claimed once.
"""

from __future__ import annotations

import math

from celery import Celery

from ..relays.base import Relay, StreamState
from ..relays.requests import Create, Read, Reap, Turn
from . import messages
from .events import stream_ended


def advance(app: Celery, relay: Relay, name: str) -> None:
    """Send the task whose turn it is, if that was not done.

    Raises:
        RelayUnavailableError: the store does not answer.
        kombu.exceptions.OperationalError: the broker does not answer; the next call sends.
    """
    request = Turn(name)
    while True:
        answer = relay.call(request)
        if answer.kind != "ok":
            return
        current, message = answer.turn
        if not current or not (message or answer.waiting):
            return
        state = _state_of(relay, current)
        if state is not None and not state.end:
            if message:
                # From now on a producer is awaited.
                relay.call(Create(current, state.owner, state.kind, conversation=name))
                messages.send(app, message)
                relay.call(Turn(name, sent=current))
            return
        if state is not None:
            relay.call(stream_ended(name, current, state.end, state.error))
        request = Turn(name, ended=current)


def look_again_after(lease: float, reap_after: float) -> int:
    """Seconds after which a task that waits for its turn looks again by itself."""
    # Whole seconds: on quorum queues Celery cannot delay a message by less than one.
    return math.ceil(lease + reap_after)


def _state_of(relay: Relay, stream_id: str) -> StreamState | None:
    """The state of a stream; that of a lost producer is ended, when that is due."""
    page = relay.read(Read(stream_id))
    if page is not None and not page.state.end and page.state.lease_left < 0:
        relay.call(Reap(stream_id))
        page = relay.read(Read(stream_id))
    return None if page is None else page.state
