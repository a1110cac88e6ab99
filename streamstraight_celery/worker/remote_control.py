"""A worker's parent process: `celery control stop_stream ID`, `celery inspect active_streams`.

The parent cannot know which stream a pool process runs at this moment, so a stop only makes the
process ask the relay for stops at once; the relay names the streams.
"""

from __future__ import annotations

import contextlib
import os
import time
from concurrent.futures import TimeoutError
from typing import Any

from celery.worker import state as worker_state
from celery.worker.control import control_command, inspect_command

from ..errors import RelayUnavailableError
from ..ids import INSPECT_COMMAND, STOP_COMMAND
from ..producing.interrupts import CHECK_STOPS
from ..relays.requests import Stop
from ..runtime import Runtime
from .request import StreamRequest, stream_id_of

# How long the worker's event loop may wait for a relay that does not answer.
ANSWER_TIMEOUT = 1.0


@control_command(  # type: ignore[untyped-decorator]
    name=STOP_COMMAND,
    args=[("stream_id", str)],
    signature="<stream_id>",
)
def stop_stream(state: Any, stream_id: str) -> dict[str, str]:
    """Stop a stream: its generator is closed, and the connection to the LLM with it."""
    runtime = Runtime.of(state.app)
    asked = runtime.request_queue.ask(Stop(stream_id))
    try:
        # Once for a relay that is away, not for each stop: the worker's other work would wait.
        answer = asked.result(0 if runtime.request_queue.unanswered else ANSWER_TIMEOUT)
        if answer.kind == "ended":
            # A queued one, which no process will tell.
            runtime.tell_end_soon(state.app, stream_id)
        said = {"ok": f"stream {stream_id}: {answer.end_reason or answer.kind}"}
    except (TimeoutError, RelayUnavailableError):
        # It is asked again until the relay answers, and the producer learns of it then.
        said = {"error": f"stream {stream_id}: the stream store does not answer yet"}
    for request in list(worker_state.active_requests):
        if stream_id_of(request) == stream_id:
            _wake(request, runtime, state.consumer.pool)
    return said


@inspect_command(name=INSPECT_COMMAND)  # type: ignore[untyped-decorator]
def active_streams(state: Any) -> list[dict[str, Any]]:
    """The streams that this worker writes now."""
    return [
        {
            "stream_id": stream_id_of(request),
            "task_id": request.id,
            "task": request.name,
            "seconds": round(time.time() - request.time_start, 3) if request.time_start else None,
            "pid": request.worker_pid,
        }
        for request in list(worker_state.active_requests)
        if isinstance(request, StreamRequest)
    ]


def _wake(request: Any, runtime: Runtime, pool: Any) -> None:
    pid = request.worker_pid
    # In a green pool the "pid" is a greenlet's id.
    if pid and pid != os.getpid() and not pool.is_green and CHECK_STOPS is not None:
        # One that is lost, which Celery has not seen yet, has nothing to stop.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, CHECK_STOPS)
    else:
        runtime.sender.check_stops()
