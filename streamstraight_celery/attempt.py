"""One attempt of a stream task: claim the stream, drive the generator, end or hand over."""

from __future__ import annotations

import functools
import inspect
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict

from celery.exceptions import Ignore, Reject, Retry

from .codecs import Codec, wire_encoder
from .driver import Driver
from .errors import StreamBusyError, StreamClosedError, StreamError, StreamStopped
from .outcome import describe_error, retry_delay
from .relays.base import EndReason
from .runtime import Runtime
from .writer import StreamWriter

if TYPE_CHECKING:
    from .task import StreamTask

log = logging.getLogger(__name__)

# What a stopping worker waits for the relay to take note.
LAST_WORDS_TIMEOUT = 2.0
# How long a retry waits for the attempt before, which is about to let go, and how often it asks.
HAND_OVER_TIMEOUT = 2.0
HAND_OVER_POLL = 0.01

Chunks = Iterator[Any] | AsyncIterator[Any]


class StreamSummary(TypedDict):
    """A task's result when its generator returns nothing. Times are seconds, sizes bytes."""

    stream_id: str
    attempt: int
    chunks: int
    bytes: int
    first_chunk_seconds: float | None
    seconds: float
    end_reason: str


def run_attempt(self: StreamTask[Any], *args: Any, **kwargs: Any) -> Any:
    """The `run` of every stream task: drive the user's generator into the stream.

    Returns what the generator returns, or the summary when that is None. Called directly, outside
    of any request: the generator itself, as `task()` does.

    Raises:
        Exception: whatever the generator, the codec or the writer raised; the stream is still open
            then, `settle` decides about it.
    """
    if self.request.called_directly:
        return self._stream_function(*args, **kwargs)
    started = time.monotonic()
    runtime = Runtime.of(self.app)
    codec = self.codec_in(runtime)
    driver = Driver(wire_encoder(codec), runtime.sender.poke)
    try:
        writer = _open(self, runtime, codec, driver)
    except StreamBusyError as busy:
        _come_back(self, args, kwargs, busy.retry_after)
    except StreamClosedError as closed:
        if closed.reason not in ("stopped", "completed"):
            raise
        return _summary_of_closed(runtime, self.stream_id, closed.reason)
    self.request.stream_writer = writer
    value, reason = _produce(self, driver, writer, args, kwargs)
    seconds = time.monotonic() - started
    if value is not None:
        return value
    return StreamSummary(
        stream_id=writer.stream_id, attempt=writer.attempt, chunks=writer.chunks, bytes=writer.size,
        first_chunk_seconds=writer.first_chunk_at and round(writer.first_chunk_at - started, 6),
        seconds=round(seconds, 6), end_reason=reason,
    )  # fmt: skip


def _open(task: StreamTask[Any], runtime: Runtime, codec: Codec, driver: Driver) -> StreamWriter:
    """Claim the stream.

    A retry, or a task that takes another's place, can arrive before that has let go: wait for it.
    """
    request = task.request
    follows = request.retries or getattr(request, "replaced_task_nesting", 0)
    deadline = time.monotonic() + (HAND_OVER_TIMEOUT if follows else 0)
    while True:
        try:
            return runtime.sender.open(
                task.stream_id, owner=task.request.id or "", kind=codec.kind,
                on_interrupt=driver.interrupt,
            )  # fmt: skip
        except StreamBusyError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(HAND_OVER_POLL)


def _produce(
    task: StreamTask[Any], driver: Driver, writer: StreamWriter, args: Any, kwargs: Any
) -> tuple[Any, EndReason]:
    """Run the generator and end the stream; returns its value and the end reason."""
    value: Any = None
    reason: EndReason = "completed"
    try:
        if writer.stop_asked:
            raise StreamStopped
        value = driver.run(_chunks(task, args, kwargs), writer)
    except StreamStopped:
        if not writer.stop_asked:
            # Interrupted because writing has become impossible; the writer knows why.
            writer.check()
        reason = "stopped"
    except StreamClosedError as closed:
        if closed.reason != "stopped":
            raise
        reason = "stopped"
    if not (writer.concluded and reason == "stopped"):
        writer.finish(reason)
    return value, reason


class _OneRequest:
    """Stands in for a task's request stack, which Celery keeps by thread."""

    def __init__(self, request: Any) -> None:
        self.top = request


def _chunks(task: StreamTask[Any], args: Any, kwargs: Any) -> Chunks:
    function = inspect.unwrap(task._stream_function, stop=inspect.isasyncgenfunction)
    if inspect.isasyncgenfunction(function):
        # It runs on the loop thread, where self.request would be nobody's: bind it to a view.
        view = object.__new__(type(task))
        view.__dict__.update(task.__dict__, request_stack=_OneRequest(task.request))
        task = view
    chunks = task._stream_function(*args, **kwargs)
    if isinstance(chunks, (Iterator, AsyncIterator)):
        return chunks
    raise TypeError(
        f"{task.name} returned {type(chunks).__name__}, not a generator: "
        "a decorator between @stream_task and the function does not pass the generator on"
    )


def _come_back(task: StreamTask[Any], args: Any, kwargs: Any, seconds: float) -> NoReturn:
    """A living producer holds the stream: deliver this message again when its lease is over.

    Not `retry()`: that would use up one of the task's retries.
    """
    request = task.request
    task.signature_from_request(
        request, args, kwargs, countdown=seconds + 0.1, retries=request.retries
    ).apply_async()
    raise Ignore


def _summary_of_closed(runtime: Runtime, stream_id: str, reason: str) -> StreamSummary:
    """The summary of a stream that had ended before this delivery of its task could claim it."""
    state = runtime.relay.state(stream_id)
    return StreamSummary(
        stream_id=stream_id, attempt=state.attempt, chunks=state.last, bytes=state.size,
        first_chunk_seconds=None, seconds=0.0, end_reason=reason,
    )  # fmt: skip


def settle(task: StreamTask[...], error: BaseException) -> None:
    """End the stream, or leave it to the next attempt, after the attempt has failed."""
    writer: StreamWriter | None = getattr(task.request, "stream_writer", None)
    if writer is None or writer.concluded:
        return
    ttl = Runtime.of(task.app).settings.ttl
    if isinstance(error, Retry):
        # The message waits in a queue like any other: as long as a stream is kept.
        _quietly(functools.partial(writer.release, retry_delay(error) + ttl))
    elif getattr(task.request, "stream_replaced", False) or (
        isinstance(error, Reject) and error.requeue
    ):
        _quietly(functools.partial(writer.release, ttl))
    elif isinstance(error, Ignore):
        _quietly(functools.partial(writer.finish, "completed"))
    elif isinstance(error, Exception):
        reason, message = describe_error(error)
        _quietly(functools.partial(writer.finish, reason, message))
    else:
        # SystemExit and the like: the worker goes down or the task was terminated.
        _quietly(functools.partial(writer.release, 0, timeout=LAST_WORDS_TIMEOUT))


def _quietly(write: Callable[[], None]) -> None:
    """Write a stream's last words; the error on its way to Celery matters more than theirs."""
    try:
        write()
    except StreamError as error:
        log.warning("the end of a stream could not be written: %s", error)
