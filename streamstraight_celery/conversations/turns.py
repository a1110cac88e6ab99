"""Whose turn it is: begin the next stream of a conversation's queue when the one before has ended.

Whoever writes or sees an end calls `advance`, as often as they like: each step may be repeated. A
message that was sent and not noted is sent again; its stream is claimed once.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from celery import Celery

from ..due_times import wait_of
from ..ends.telling import tell_application
from ..relays.base import Relay, StreamState
from ..relays.requests import Create, Delete, Read, Reap, Stop, Turn
from ..settings import StreamSettings
from . import messages
from .events import stream_ended


class _Sent(NamedTuple):
    """What of a task its time to begin takes."""

    app: Celery
    expires: Any


def advance(
    app: Celery, settings: StreamSettings, relay: Relay, name: str, connection: Any = None
) -> None:
    """Send the task whose turn it is, if that was not done.

    Args:
        app: whose broker is used.
        settings: of the app.
        relay: where the conversation is.
        name: the conversation's.
        connection: to the broker; default: one of the app's pool.

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
        state = _state_of(app, relay, current, connection)
        if state is not None and not state.end:
            if not message:
                return
            body = messages.unpack(app, message)
            if _await_producer(app, settings, relay, current, state, body):
                messages.send(app, body, connection)
                relay.call(Turn(name, sent=current))
                return
        elif state is not None:
            relay.call(stream_ended(name, current, state.end, state.error))
        request = Turn(name, ended=current)


def look_again_after(lease: float, reap_after: float) -> int:
    """Seconds after which a task that waits for its turn looks again by itself."""
    # Whole seconds: on quorum queues Celery cannot delay a message by less than one.
    return math.ceil(lease + reap_after)


def _await_producer(
    app: Celery,
    settings: StreamSettings,
    relay: Relay,
    stream_id: str,
    state: StreamState,
    body: messages.Message,
) -> bool:
    """Count the time to begin from now on; False when the stream is gone, or another task's."""
    task = _Sent(app, getattr(app.tasks.get(body["task"]), "expires", None))
    wait = wait_of(task, body["options"], settings.ttl)
    answer = relay.call(
        Create(stream_id, state.owner, state.kind, wait, conversation=state.conversation)
    )
    if answer.is_new:
        # It was deleted just now, and this has begun it again.
        relay.execute([Stop(stream_id), Delete(stream_id)])
    return answer.kind == "ok" and not answer.is_new


def _state_of(app: Celery, relay: Relay, stream_id: str, connection: Any) -> StreamState | None:
    """The state of a stream; that of a lost producer is ended, when that is due."""
    page = relay.read(Read(stream_id))
    if page is not None and not page.state.end and page.state.lease_left < 0:
        if relay.call(Reap(stream_id)).kind == "ended":
            tell_application(app, relay, stream_id, connection=connection)
        page = relay.read(Read(stream_id))
    return None if page is None else page.state
