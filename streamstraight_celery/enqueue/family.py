"""Stop a stream of a conversation together with those that its task has started."""

from __future__ import annotations

from celery import Celery

from ..conversations.events import read_events
from ..ids import conversation_id
from ..relays.base import Relay
from ..runtime import Runtime
from .ending import stop_stream


def descendants(relay: Relay, log: str, stream_id: str) -> dict[str, bool]:
    """The streams that its task has started, and theirs; and whether they run, as far as is known.

    Raises:
        RelayUnavailableError: the store does not answer.
    """
    found: dict[str, bool] = {stream_id: True}
    for event in read_events(relay, log):
        name = event.get("stream_id", "")
        if event["type"] == "stream" and event.get("parent") in found:
            found[name] = True
        elif event["type"] == "ended" and name in found:
            found[name] = False
    del found[stream_id]
    return found


def stop_tree(app: Celery, runtime: Runtime, stream_id: str, conversation: str) -> list[str]:
    """Stop a stream, then all that its task has started, and those have; the ids of those that ran.

    Looks again until there are no more: a task may start another one just before it is stopped.

    Raises:
        RelayUnavailableError: the store does not answer; stopping again is safe.
    """
    stopped = [stream_id] if stop_stream(app, runtime, stream_id) else []
    asked = {stream_id}
    log = conversation_id(conversation)
    while conversation:
        running = descendants(runtime.relay, log, stream_id)
        if not (left := [name for name, runs in running.items() if runs and name not in asked]):
            break
        for name in left:
            asked.add(name)
            if stop_stream(app, runtime, name):
                stopped.append(name)
    return stopped
