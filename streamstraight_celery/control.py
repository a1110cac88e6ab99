"""Remote control: `celery -A proj control stop_stream ID`.

A worker's parent process cannot know which stream a pool process runs at this moment, so it only
makes the process ask the relay for stops at once; the relay names the streams.
"""

from __future__ import annotations

import os
from typing import Any

from celery.worker import state as worker_state
from celery.worker.control import control_command

from .driver import INTERRUPT
from .names import STOP_COMMAND, STREAM_ID_HEADER
from .relays.base import Stop
from .runtime import Runtime


@control_command(  # type: ignore[untyped-decorator]
    name=STOP_COMMAND,
    args=[("stream_id", str)],
    signature="<stream_id>",
)
def stop_stream(state: Any, stream_id: str) -> dict[str, str]:
    """Stop a stream: its generator is closed, and the connection to the LLM with it."""
    runtime = Runtime.of(state.app)
    answer = runtime.relay.call(Stop(stream_id))
    for request in list(worker_state.active_requests):
        if _stream_id(request) == stream_id:
            _wake(request, runtime)
    return {"ok": f"stream {stream_id}: {answer.reason or answer.kind}"}


def _stream_id(request: Any) -> str:
    headers = request.request_dict.get("headers") or {}
    return str(
        request.request_dict.get(STREAM_ID_HEADER) or headers.get(STREAM_ID_HEADER) or request.id
    )


def _wake(request: Any, runtime: Runtime) -> None:
    pid = request.worker_pid
    if pid and pid != os.getpid() and INTERRUPT is not None:
        os.kill(pid, INTERRUPT)
    else:
        runtime.sender.poke()
