"""A stream task's message as the worker's parent process sees it, from delivery to its end.

The pool process ends its stream itself. What it cannot (it was killed, it ran into the hard time
limit, it never got the task) is seen here, and told to the relay by the `RequestQueue`. The parent
gives every delivery the nonce by which the pool process claims the stream, and so can never end
what another delivery of the same task holds.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import Future
from typing import Any, Literal

from billiard.einfo import ExceptionWithTraceback
from celery.exceptions import (
    Ignore,
    Reject,
    Retry,
    Terminated,
    TimeLimitExceeded,
    WorkerLostError,
)
from celery.signals import task_unknown, worker_ready, worker_shutdown
from celery.worker.request import Request

from ..errors import ConfigurationError
from ..ids import CONVERSATION_HEADER, ON_END_HEADER, STREAM_ID_HEADER, STREAM_NONCE
from ..offsets import new_nonce
from ..producing.failures import TIME_LIMIT, describe_error
from ..relays.end_reasons import EXPIRED, LOST, EndReason, error_json
from ..relays.requests import Answer, Conclude, Stop
from ..runtime import Runtime
from ..signals import stream_concluded
from .termination import note_termination

# How often the parent looks for processes that are lost. Celery does when one ends, which may be a
# moment too early to see it, and then every 5 s.
LOOK_INTERVAL = 0.5
NOT_REGISTERED = error_json("not-registered", "No worker can answer this.")


class StreamRequest(Request):  # type: ignore[misc]
    """A stream task's message in the worker. Does not show its arguments unless that is asked for.

    Here and not only where the message is made: `send_task()` hides nothing, and `inspect active`
    shows the arguments themselves.

    Never override `on_success`: the class that Celery derives from this one has its own.
    """

    # How long the next delivery of the task is awaited, once Celery has seen to one; seconds.
    _stream_awaited: float | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # In the properties, which no retry takes along: each delivery has a nonce of its own.
        self._stream_nonce = new_nonce()
        self._request_dict["properties"] = {
            **self._request_dict["properties"],
            STREAM_NONCE: self._stream_nonce,
        }
        if not _shows_arguments(self.app):
            self._argsrepr = self._request_dict["argsrepr"] = "()"
            self._kwargsrepr = repr({"stream_id": stream_id_of(self)})
            self._request_dict["kwargsrepr"] = self._kwargsrepr

    def info(self, safe: bool = False) -> dict[str, Any]:
        """What `celery inspect` and Flower show of it."""
        shown: dict[str, Any] = super().info(safe=safe or not _shows_arguments(self.app))
        return shown

    # -- what Celery tells of the task

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        """It has failed, or its process is lost."""
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        try:
            return super().on_failure(exc_info, *args, **kwargs)
        finally:
            # Those three are no failures, and the task itself has dealt with them.
            if not isinstance(error, (Ignore, Reject, Retry)):
                self._conclude(*_meaning(error))

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """It ran into a time limit; a soft one is the task's own business."""
        try:
            super().on_timeout(soft, timeout)
        finally:
            if not soft:
                self._conclude("producer-error", TIME_LIMIT)

    def reject(self, requeue: bool = False) -> None:
        """The message is given back to the broker, or thrown away."""
        given_back = requeue and not self.acknowledged
        super().reject(requeue)
        if given_back:
            self._stream_awaited = self._ttl
        elif self.time_start is None:
            # It will never run.
            self._conclude("producer-error", error_json("rejected", "The task was rejected."))

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """Asked for by `revoke(terminate=True)`, and Flower's Terminate."""
        note_termination(self.id, "revoked")
        try:
            super().terminate(pool, signal)
        except NotImplementedError:
            # The pool (threads) cannot terminate a task, but the stream can be stopped.
            runtime = _runtime(self)
            asked = runtime.request_queue.ask(Stop(stream_id_of(self)))
            asked.add_done_callback(lambda _: runtime.sender.check_stops())

    def cancel(self, *args: Any, **kwargs: Any) -> None:
        """The worker goes down, or has lost its broker."""
        note_termination(self.id, "shutdown")
        super().cancel(*args, **kwargs)

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        try:
            super()._announce_revoked(reason, terminated, signum, expired)
        finally:
            # An operator's will, as a stop is.
            self._conclude(*(("expired", EXPIRED) if expired else ("stopped", "")))

    def _announce_cancelled(self, *args: Any, **kwargs: Any) -> None:
        # The worker goes down, or has lost its broker. What is not acknowledged is delivered again:
        # in the first case at once, in the second perhaps after the visibility timeout. Celery
        # announces a retry of a task that is acknowledged late in the second case alone.
        delivered_again = self.task.acks_late and not self.acknowledged
        broker_lost = kwargs.get("emit_retry", bool(args and args[0])) is True
        try:
            super()._announce_cancelled(*args, **kwargs)
        finally:
            if delivered_again:
                lease = _runtime(self).settings.lease
                self._stream_awaited = lease if broker_lost else self._ttl
            self._conclude("producer-disconnected", LOST)

    def _retry_worker_lost(self, *args: Any, **kwargs: Any) -> bool:
        retried: bool = super()._retry_worker_lost(*args, **kwargs)
        if retried:
            self._stream_awaited = self._ttl + (self.task.default_retry_delay or 0)
        return retried

    # -- what the relay is told

    @property
    def _ttl(self) -> float:
        # A message waits in a queue for as long as a stream is kept.
        return _runtime(self).settings.ttl

    def _on_end(self, runtime: Runtime) -> str:
        """The name of the task that is told of the stream's end."""
        named = self._header(ON_END_HEADER)
        return runtime.on_end_name(self.task.on_end if named is None else named)

    def _header(self, name: str) -> Any:
        headers = self.request_dict.get("headers") or {}
        return headers.get(name, self.request_dict.get(name))

    def _conclude(self, end: EndReason | Literal[""], error: str) -> None:
        """Release the stream if the task is delivered again, else end it."""
        try:
            runtime = _runtime(self)
            on_end = self._on_end(runtime)
        except ConfigurationError:
            # The task has failed with it; here it would take the worker down.
            return
        awaited = self._stream_awaited
        if awaited is not None:
            end, error = "", ""
        request = Conclude(
            stream_id_of(self), self.id, self._stream_nonce, end, error,
            wait=round((awaited or 0) * 1000), begun=self.time_start is not None,
            on_end=on_end,
        )  # fmt: skip
        runtime.request_queue.ask(request).add_done_callback(self._concluded)

    def _concluded(self, asked: Future[Answer]) -> None:
        """The relay has been told; on the queue's thread."""
        if asked.exception() is not None:
            return
        answer, runtime = asked.result(), _runtime(self)
        # A process that has ended its stream itself may have died before it told that.
        told = self._on_end(runtime) or self._header(CONVERSATION_HEADER)
        if answer.kind in ("ended", "closed") and told:
            app: Any = self.app
            runtime.tell_end_soon(app, stream_id_of(self))
        if answer.kind == "ended":
            stream_concluded.send(
                sender=self.task, stream_id=stream_id_of(self), task_name=self.task.name,
                task_id=self.id, reason=answer.end_reason,
            )  # fmt: skip


def _meaning(error: BaseException) -> tuple[EndReason, str]:
    """The end reason, and what readers are told, when Celery reports this error of a task."""
    if isinstance(error, TimeLimitExceeded):
        return "producer-error", TIME_LIMIT
    if isinstance(error, Exception) and not isinstance(error, (WorkerLostError, Terminated)):
        return describe_error(error)
    return "producer-disconnected", LOST


@worker_ready.connect(weak=False)  # type: ignore[untyped-decorator]
def look_for_lost_processes(sender: Any, **_: Any) -> None:
    """Have the prefork pool notice a killed process within `LOOK_INTERVAL`."""
    pool: Any = getattr(sender.pool, "_pool", None)
    maintain = getattr(pool, "maintain_pool", None)
    if maintain is None or getattr(sender, "hub", None) is None:
        return
    # Celery is ready anew after each reconnect to its broker.
    before = getattr(pool, "_stream_look", None)
    if before is not None:
        before.cancel()
    pool._stream_look = sender.hub.call_repeatedly(LOOK_INTERVAL, maintain)


@task_unknown.connect(weak=False)  # type: ignore[untyped-decorator]
def end_unknown(sender: Any, message: Any, id: str, **_: Any) -> None:
    """The worker throws away a task that it does not know: end its stream, if it has one."""
    try:
        runtime = Runtime.of(sender.app)
        runtime.relay  # noqa: B018 - an app without streams may have none
    except ConfigurationError:
        return
    headers = message.headers or {}
    stream_id = headers.get(STREAM_ID_HEADER) or id
    asked = runtime.request_queue.ask(
        Conclude(stream_id, id, new_nonce(), "producer-error", NOT_REGISTERED)
    )
    asked.add_done_callback(lambda _: runtime.tell_end_soon(sender.app, stream_id))


@worker_shutdown.connect(weak=False)  # type: ignore[untyped-decorator]
def flush_ends(sender: Any, **_: Any) -> None:
    """The last ends are told before the worker is gone."""
    with contextlib.suppress(ConfigurationError):
        runtime = Runtime.of(sender.app)
        runtime.request_queue.flush()  # which ends streams
        runtime.flush_ends()


def _runtime(request: StreamRequest) -> Runtime:
    app: Any = request.app
    return Runtime.of(app)


def _shows_arguments(app: Any) -> bool:
    try:
        return Runtime.of(app).settings.show_arguments
    except ConfigurationError:
        # The task itself will fail with it; here it would take the worker down.
        return False


def stream_id_of(request: Any) -> str:
    """The id of the stream that a message's task writes."""
    headers = request.request_dict.get("headers") or {}
    return str(
        request.request_dict.get(STREAM_ID_HEADER) or headers.get(STREAM_ID_HEADER) or request.id
    )
