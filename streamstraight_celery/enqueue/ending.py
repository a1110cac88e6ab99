"""A stream's state, and how it is stopped, waited for and deleted."""

from __future__ import annotations

import math
import time

from celery import Celery

from ..errors import ConfigurationError, StreamNotEndedError, StreamNotFoundError
from ..ids import STOP_COMMAND
from ..relays.base import StreamState
from ..relays.requests import Delete, Fork, Reap, Stop
from ..runtime import Runtime

# Seconds between two looks at a stream whose end is awaited.
LOOK_FIRST = 0.01
LOOK_AT_MOST = 0.25


def state_of(runtime: Runtime, stream_id: str) -> StreamState:
    """The state of a stream. A relay server ends lost ones for their readers; this does for us.

    Raises:
        StreamNotFoundError: it does not exist, has expired or was deleted.
        RelayUnavailableError: the relay does not answer.
    """
    state = runtime.relay.state(stream_id)
    if state.deleted:
        raise StreamNotFoundError(f"no stream {stream_id!r}: it was deleted")
    if state.end or state.lease_left >= 0:
        return state
    answer = runtime.relay.call(Reap(stream_id))
    if answer.kind == "alive":
        return state
    if answer.kind in ("ended", "waits"):
        runtime.tell_end(stream_id)
    return runtime.relay.state(stream_id)


def stop_stream(app: Celery, runtime: Runtime, stream_id: str) -> bool:
    """Stop a stream by its id; False when it had ended already or there is none."""
    answer = runtime.relay.call(Stop(stream_id))
    if answer.kind == "asked":
        # The relay's answer to the next append says it too; this is for a generator that waits.
        app.control.broadcast(STOP_COMMAND, arguments={"stream_id": stream_id})
    elif answer.kind == "ended":
        runtime.tell_end(stream_id)
    return answer.kind in ("asked", "ended")


def check_wait(runtime: Runtime, wait: float | bool) -> None:
    """Check how long a stream's end is to be awaited.

    Raises:
        ConfigurationError: no possible time, or the relay does not tell when a stream has ended.
    """
    runtime.check_own_relay("stop(wait=)", "which does not tell when a stream has ended")
    if not isinstance(wait, (int, float)) or not wait >= 0:
        raise ConfigurationError(f"wait={wait!r}: use a number of seconds, or True")


def wait_for_end(
    runtime: Runtime, stream_id: str, wait: float | bool, began: float | None = None
) -> None:
    """Return when the stream has ended, or is gone.

    Args:
        runtime: of the app.
        stream_id: the stream.
        wait: seconds; True: no limit.
        began: when the wait began (`time.monotonic`); default: now.

    Raises:
        StreamNotEndedError: it has not, after `wait` seconds.
        RelayUnavailableError: the relay does not answer.
    """
    start = time.monotonic() if began is None else began
    deadline = start + (math.inf if wait is True else wait)
    pause = LOOK_FIRST
    while not has_ended(runtime, stream_id):
        left = deadline - time.monotonic()
        if left <= 0:
            raise StreamNotEndedError(
                f"stream {stream_id!r} was asked to stop and has not ended within {wait:g} s"
            )
        time.sleep(min(pause, left))
        pause = min(2 * pause, LOOK_AT_MOST)


def has_ended(runtime: Runtime, stream_id: str) -> bool:
    """Whether the stream has ended, or is gone.

    Raises:
        RelayUnavailableError: the relay does not answer.
    """
    try:
        return bool(state_of(runtime, stream_id).end)
    except StreamNotFoundError:
        return True


def delete_stream(runtime: Runtime, stream_id: str) -> bool:
    """Delete a stream that has ended; False when there is none.

    Raises:
        StreamNotEndedError: it is active.
        RelayUnavailableError: the relay does not answer.
    """
    answer = runtime.relay.call(Delete(stream_id, keep_name=True))
    if answer.kind == "held":
        raise StreamNotEndedError(
            f"stream {stream_id!r} is active and cannot be deleted: stop(wait=10) it first"
        )
    source = answer.source
    while source:
        source = runtime.relay.call(Fork(source, -1)).source
    return answer.kind == "ok"
