"""A worker's parent process: `celery -A proj control stop_stream ID`, and what `inspect` shows.

The parent cannot know which stream a pool process runs at this moment, so a stop only makes the
process ask the relay for stops at once; the relay names the streams.
"""

from __future__ import annotations

import os
from typing import Any

from celery.worker import state as worker_state
from celery.worker.control import control_command
from celery.worker.request import Request

from .driver import INTERRUPT
from .errors import ConfigurationError
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


class StreamRequest(Request):  # type: ignore[misc]
    """A stream task's message in the worker. Does not show its arguments unless that is asked for.

    Here and not only where the message is made: `send_task()` hides nothing, and `inspect active`
    shows the arguments themselves.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not _shows_arguments(self.app):
            self._argsrepr = self._request_dict["argsrepr"] = "()"
            self._kwargsrepr = repr({"stream_id": _stream_id(self)})
            self._request_dict["kwargsrepr"] = self._kwargsrepr

    def info(self, safe: bool = False) -> dict[str, Any]:
        """What `celery inspect` and Flower show of it."""
        shown: dict[str, Any] = super().info(safe=safe or not _shows_arguments(self.app))
        return shown


def _shows_arguments(app: Any) -> bool:
    try:
        return Runtime.of(app).settings.show_arguments
    except ConfigurationError:
        # The task itself will fail with it; here it would take the worker down.
        return False


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
