"""Stop a stream of a conversation together with those that its task has started."""

from __future__ import annotations

import time

from celery import Celery

from ..conversations.events import read_events
from ..ids import conversation_id
from ..relays.base import Relay
from ..runtime import Runtime
from .ending import LOOK_AT_MOST, LOOK_FIRST, has_ended, stop_stream

# Seconds for which tasks that were asked to stop, and may still start others, are awaited. Their
# generators are interrupted at once; without remote control they hear of it within a second.
SETTLE = 2.0


def descendants(relay: Relay, log: str, stream_id: str) -> list[str]:
    """The streams that its task has started, and theirs, in the order in which they began.

    Raises:
        RelayUnavailableError: the store does not answer.
    """
    found = {stream_id: None}
    for event in read_events(relay, log):
        if event["type"] == "stream" and event.get("parent") in found:
            found[event.get("stream_id", "")] = None
    del found[stream_id]
    return list(found)


def stop_tree(
    app: Celery, runtime: Runtime, stream_id: str, conversation: str, settle: float = SETTLE
) -> list[str]:
    """Stop a stream, then all that its task has started, and those have; the ids of those that ran.

    Looks again until they have ended and there are no more: a task may start another one until it
    is interrupted. Those that have ended are asked, too: a lost one may have begun again.

    Args:
        app: the Celery app.
        runtime: of the app.
        stream_id: the stream.
        conversation: its conversation's name; "": it has none.
        settle: seconds after which those that have not ended are left to themselves.

    Raises:
        RelayUnavailableError: the store does not answer; stopping again is safe.
    """
    stopped = [stream_id] if stop_stream(app, runtime, stream_id) else []
    asked = {stream_id}
    running = list(stopped)
    deadline, pause = time.monotonic() + settle, LOOK_FIRST
    log = conversation_id(conversation)
    while conversation:
        # Before the log is read: what they have started by then is in it.
        running = [name for name in running if not has_ended(runtime, name)]
        late = time.monotonic() >= deadline
        left = [name for name in descendants(runtime.relay, log, stream_id) if name not in asked]
        for name in left:
            asked.add(name)
            if stop_stream(app, runtime, name):
                stopped.append(name)
                running.append(name)
        if not left and (late or not running):
            break
        if not left:
            time.sleep(pause)
            pause = min(2 * pause, LOOK_AT_MOST)
    return stopped
