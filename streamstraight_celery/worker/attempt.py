"""One attempt of a stream task: claim the stream, drive the generator, end or hand over."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import logging
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NoReturn, TypedDict, TypeVar

from billiard.process import current_process
from celery._state import _task_stack
from celery.exceptions import Ignore, Reject, Retry

from ..codecs import Codec, wire_encoder
from ..conversations.membership import header_of
from ..ends import telling
from ..errors import (
    ConfigurationError,
    RelayRefusedError,
    StreamBusyError,
    StreamClosedError,
    StreamError,
    StreamExistsError,
    StreamStopped,
    StreamSuspended,
    StreamWaitingError,
)
from ..ids import (
    LABELS_HEADER,
    ON_END_HEADER,
    OVERWRITE_HEADER,
    STREAM_NONCE,
    TTL_HEADER,
    WAKES_HEADER,
)
from ..producing.driver import Driver
from ..producing.failures import describe_error, error_within, retry_delay
from ..producing.generators import awaiting, calling, is_generator_function
from ..producing.writer import LAST_WORDS_TIMEOUT, StreamWriter
from ..relays.about import About, Workplace
from ..relays.end_reasons import GOOD_ENDS, LOST, EndReason
from ..relays.requests import Delete, Expect, Read, Recall
from ..runtime import Runtime
from ..settings import soft_time_limit
from . import telemetry
from .conversation import await_turn
from .results import storable
from .running import bound_to_request, runs
from .telemetry import RunningTask
from .termination import why_terminated
from .unwatched import stopped_unwatched

log = logging.getLogger(__name__)

# How long one that is not the first waits for the attempt before, which may be about to let go, and
# how often it asks.
HAND_OVER_TIMEOUT = 2.0
HAND_OVER_POLL = 0.01
MAX_PLACE = 64  # characters of the name of a worker or queue

T = TypeVar("T")
Chunks = Iterator[Any] | AsyncIterator[Any]


class StreamSummary(TypedDict):
    """A task's result when its generator returns nothing. Times are seconds, sizes bytes.

    Flower shows results in one line, so what matters comes first.
    """

    end_reason: str
    chunks: int
    first_chunk_seconds: float | None
    seconds: float
    bytes: int
    attempt: int
    stream_id: str


def run_attempt(self: RunningTask, *args: Any, **kwargs: Any) -> Any:
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
    task = bound_to_request(self)
    runtime = Runtime.of(self.app)
    await_turn(self, runtime, args, kwargs)
    codec = self.codec_in(runtime)
    # An eager task stays in its caller's thread, with its database connections.
    detached = None if self.request.is_eager else functools.partial(_current, self, self.request)
    # Celery itself carries it out in the prefork pool alone.
    time_limit = None if self.request.is_eager else soft_time_limit(self, self.request)
    driver = Driver(
        wire_encoder(codec, runtime.settings.nan), runtime.sender.check_stops, detached=detached,
        name=f"task {self.name}[{self.request.id}]", time_limit=time_limit,
        last_words=functools.partial(_last_words, task), sends=self.sends,
        why_terminated=functools.partial(why_terminated, self.request.id or ""),
    )  # fmt: skip
    try:
        writer = _open(self, runtime, codec, driver)
    except StreamBusyError as busy:
        if self.request.is_eager:
            raise  # nobody would deliver it again
        _come_back(self, runtime, args, kwargs, busy.retry_after)
    except StreamWaitingError as waiting:
        log.info("%s; this delivery of its task is not the one that continues it", waiting)
        raise Ignore from None
    except StreamClosedError as closed:
        return _had_ended(self, runtime, closed)
    self.request.stream_driver = driver
    telemetry.begin(self, writer, started)
    value, reason = _retriable(self, lambda: _produce(task, driver, writer, args, kwargs))
    seconds = time.monotonic() - started
    if value is not None:
        return value
    return StreamSummary(
        end_reason=reason, chunks=writer.chunks,
        first_chunk_seconds=writer.first_chunk_at and round(writer.first_chunk_at - started, 6),
        seconds=round(seconds, 6), bytes=writer.size, attempt=writer.attempt,
        stream_id=writer.stream_id,
    )  # fmt: skip


def _open(task: RunningTask, runtime: Runtime, codec: Codec, driver: Driver) -> StreamWriter:
    """Claim the stream.

    A retry, a task that takes another's place and a message that was given back can arrive before
    that has let go, or the parent of a lost process has said so: wait for it.
    """
    request = task.request
    # The parent process knows it too, and can end the stream when this process is killed.
    nonce = (request.properties or {}).get(STREAM_NONCE, "")
    wakes = int(header_of(request, WAKES_HEADER) or 0)
    before = _times_before(request) + bool(wakes)
    deadline = time.monotonic() + (HAND_OVER_TIMEOUT if before else 0)
    fails = task.on_redelivery == "fail" and _was_lost(runtime, task)
    while True:
        try:
            writer = runtime.sender.open(
                task.stream_id, owner=request.id or "", kind=codec.kind, nonce=nonce,
                resume=fails or task.on_redelivery == "resume", again=before,
                untold=_reads_no_messages(request), on_interrupt=driver.interrupt,
                after_loss=task.on_lost == "run", on_end=_on_end(task, runtime),
                about=_about(task), at=_workplace(request), wakes=wakes,
            )  # fmt: skip
            break
        except StreamClosedError:
            if not _overwrites(runtime, task):
                raise
            continue
        except StreamBusyError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(HAND_OVER_POLL)
    # From here on `settle` ends the stream, whatever fails.
    request.stream_writer = writer
    if fails:
        # Readers keep what they have, and are told that no more will come.
        writer.finish("producer-disconnected", LOST)
        raise StreamClosedError(task.stream_id, "producer-disconnected")
    if task.on_redelivery == "resume" and writer.attempt > 1:
        request.stream_saved = _recall(runtime, task.stream_id)
    return writer


def _about(task: RunningTask) -> About:
    """What the message says of the stream; whoever sent it may not have checked."""
    headers = task.request.headers or {}
    try:
        return About.of(task.name, headers.get(LABELS_HEADER), headers.get(TTL_HEADER, task.ttl))
    except ConfigurationError as error:
        log.warning("%s: %s; ignored", task.name, error)
        return About(task.name)


def _workplace(request: Any) -> Workplace:
    """Where this runs, as far as Celery says. Redis keeps short texts in less room."""
    queue = (request.delivery_info or {}).get("routing_key") or ""
    return Workplace(str(request.hostname or "")[:MAX_PLACE], str(queue)[:MAX_PLACE])


def _was_lost(runtime: Runtime, task: RunningTask) -> bool:
    """Whether the stream has seen an attempt that was neither retried nor replaced, but lost.

    Raises:
        StreamClosedError: it has, and the relay ends such streams without being told.
    """
    request = task.request
    try:
        page = runtime.sender.patiently(lambda: runtime.relay.read(Read(task.stream_id)))
    except RelayRefusedError:  # it tells nobody, but the broker does
        if (request.delivery_info or {}).get("redelivered"):
            raise StreamClosedError(task.stream_id, "producer-disconnected") from None
        return False
    expected = request.retries + (getattr(request, "replaced_task_nesting", 0) or 0)
    return page is not None and not page.state.end and page.state.attempt > expected


def _recall(runtime: Runtime, stream_id: str) -> tuple[int, Any]:
    """The last checkpoint: how many chunks it covers, and its value."""
    answer = runtime.sender.patiently(lambda: runtime.relay.call(Recall(stream_id)))
    return answer.last_seq, json.loads(answer.checkpoint) if answer.checkpoint else None


def _last_words(task: RunningTask, error: BaseException) -> tuple[EndReason, str] | None:
    """What readers are told of an error while the generator's clean-up still runs.

    None when the task may be retried. In a thread that is not the task's: `task` is its view.
    """
    if not isinstance(error, Exception) or isinstance(error, (Ignore, Reject, Retry)):
        return None
    retried = isinstance(error, tuple(getattr(task, "autoretry_for", ())))
    left = task.max_retries is None or (task.request.retries or 0) < task.max_retries
    if retried and left and not task.retries_no_more:
        return None
    return describe_error(error)


def _times_before(request: Any) -> int:
    """How often this stream was begun before, as far as Celery knows."""
    redelivered = bool((request.delivery_info or {}).get("redelivered"))
    replaced = getattr(request, "replaced_task_nesting", 0) or 0
    return int(request.retries or 0) + int(replaced) + redelivered


def _retriable(task: RunningTask, run: Callable[[], T]) -> T:
    """Raise an error that `autoretry_for` names where it is wrapped, in a group or by `from`.

    Celery looks only at the error itself, and async code raises groups.
    """
    kinds = tuple(getattr(task, "autoretry_for", ()) or ())
    try:
        return run()
    except Exception as error:
        found = error_within(error, kinds) if kinds else None
        if found is None or found is error:
            raise
        log.info("%s: %r was raised within %r", task.name, found, error)
    # Not in the block above, which would make each the context of the other.
    raise found


def _produce(
    task: RunningTask, driver: Driver, writer: StreamWriter, args: Any, kwargs: Any
) -> tuple[Any, EndReason]:
    """Run the generator and end the stream; returns its value and the end reason.

    Raises:
        celery.exceptions.Retry: it is suspended.
        Exception: as `run_attempt`.
    """
    value: Any = None
    reason: EndReason = "completed"
    kept: list[Any] = []
    try:
        if writer.stop_asked:
            raise StreamStopped
        limit = task.unwatched
        with runs(task), stopped_unwatched(Runtime.of(task.app), writer.stream_id, limit):
            value = driver.run(_chunks(task, args, kwargs, kept.append), writer)
        value = storable(task, kept[0] if kept else value)
    except StreamSuspended as pause:
        writer.release(pause.seconds, suspends=True)
        if writer.outcome != "stopped":
            waiting = StreamWaitingError(writer.stream_id, pause.seconds)
            raise Retry(str(waiting), waiting, pause.seconds) from None
        reason = "stopped"
    except StreamStopped:
        if not writer.stop_asked:
            # Interrupted because writing has become impossible; the writer knows why.
            writer.check()
        reason = "stopped"
    except StreamClosedError as closed:
        if closed.reason != "stopped":
            raise
        reason = "stopped"
    if not (writer.done and reason == "stopped"):
        writer.finish(reason)
    return value, reason


@contextlib.contextmanager
def _current(task: RunningTask, request: Any) -> Iterator[None]:
    """Make a thread one in which this task runs: `self.request`, `current_task`."""
    _task_stack.push(task)
    task.request_stack.push(request)
    try:
        yield
    finally:
        task.request_stack.pop()
        _task_stack.pop()


def _reads_no_messages(request: Any) -> bool:
    """Whether the process that runs the task is the one that would be told of a stop (solo)."""
    return (
        not request.is_eager
        and current_process()._parent_pid is None
        and threading.current_thread() is threading.main_thread()
    )


def _chunks(task: RunningTask, args: Any, kwargs: Any, keep: Callable[[Any], object]) -> Chunks:
    """The generator; what a coroutine function returns is given to `keep`."""
    call = functools.partial(task._stream_function, *args, **kwargs)
    if task.sends and not is_generator_function(call.func):
        is_async = inspect.iscoroutinefunction(inspect.unwrap(call.func))
        return awaiting(call, keep) if is_async else calling(call)
    chunks = call()
    if isinstance(chunks, (Iterator, AsyncIterator)):
        return chunks
    raise TypeError(
        f"{task.name} returned {type(chunks).__name__}, not a generator: "
        "a decorator between @stream_task and the function does not pass the generator on"
    )


def _come_back(
    task: RunningTask, runtime: Runtime, args: Any, kwargs: Any, seconds: float
) -> NoReturn:
    """A living producer holds the stream: deliver this message again when its lease is over.

    Not `retry()`: that would use up one of the task's retries.
    """
    request = task.request
    # Whole seconds: on quorum queues Celery cannot delay a message by less than one.
    countdown = math.ceil(seconds + 0.1)
    task.signature_from_request(
        request, args, kwargs, countdown=countdown, retries=request.retries
    ).apply_async()
    # Should the holder be lost meanwhile, this delivery takes over.
    wait = countdown + runtime.settings.lease + runtime.settings.reap_after
    expect = Expect(task.stream_id, request.id or "", round(wait * 1000))
    runtime.sender.patiently(lambda: runtime.relay.call(expect))
    raise Ignore


def _had_ended(task: RunningTask, runtime: Runtime, closed: StreamClosedError) -> StreamSummary:
    """The summary of a stream that had ended before this delivery of its task could claim it.

    Raises:
        StreamClosedError: it had ended badly.
        StreamExistsError: it is another task's.
    """
    reason = closed.reason
    attempt = chunks = size = 0
    try:
        state = runtime.sender.patiently(lambda: runtime.relay.state(task.stream_id))
    except RelayRefusedError:
        # A relay that does not tell how a stream is; only the own one can be stopped or repeated.
        if reason not in GOOD_ENDS or not (reason == "stopped" or _times_before(task.request)):
            raise closed from None
    else:
        if state.owner != task.request.id:
            raise StreamExistsError(
                f"stream {task.stream_id!r} is task {state.owner}'s and has ended ({reason}): give "
                f"each task its own stream_id, or send the header {OVERWRITE_HEADER}=True to "
                "replace a stream that has ended"
            )
        if reason not in GOOD_ENDS:
            raise closed
        attempt, chunks, size = state.attempt, state.last, state.size
        if reason == "stopped" and (not attempt or state.released):
            # While its message was in a queue: no attempt has told of that.
            telemetry.conclude(task, reason)
    return StreamSummary(
        end_reason=reason, chunks=chunks, first_chunk_seconds=None, seconds=0.0, bytes=size,
        attempt=attempt, stream_id=task.stream_id,
    )  # fmt: skip


def _overwrites(runtime: Runtime, task: RunningTask) -> bool:
    """Make way for this task if it says so and the stream that has ended is another one's."""
    request = task.request
    headers = request.headers or {}
    if not (headers.get(OVERWRITE_HEADER) or getattr(request, OVERWRITE_HEADER, False)):
        return False
    state = runtime.sender.patiently(lambda: runtime.relay.state(task.stream_id))
    if not state.end or state.owner == request.id:
        return False
    # If nobody has. What cannot be told now is lost with the stream.
    if telling.tell_application(task.app, runtime.relay, task.stream_id) == "failed":
        return False
    runtime.sender.patiently(lambda: runtime.relay.call(Delete(task.stream_id)))
    return True


def settle(task: RunningTask, error: BaseException) -> None:
    """End the stream, or leave it to the next attempt, after the attempt has failed."""
    writer: StreamWriter | None = getattr(task.request, "stream_writer", None)
    if writer is None or writer.done:
        return
    ttl = Runtime.of(task.app).settings.ttl
    if isinstance(error, Retry):
        # The message waits in a queue like any other: as long as a stream is kept.
        wait = retry_delay(error, task.app) + ttl
        _quietly(writer, functools.partial(writer.release, wait))
    elif (isinstance(error, Reject) and error.requeue) or (
        isinstance(error, Ignore) and getattr(task.request, "stream_replaced", False)
    ):
        _quietly(writer, functools.partial(writer.release, ttl))
    elif isinstance(error, Ignore):
        _quietly(writer, functools.partial(writer.finish, "completed"))
    elif isinstance(error, Exception):
        reason, message = describe_error(error)
        _quietly(writer, functools.partial(writer.finish, reason, message))
    else:
        # SystemExit and the like: the worker goes down or the task was terminated. Whether the task
        # comes back, and how long it is awaited, is for the parent process to say.
        wait = Runtime.of(task.app).settings.lease if task.acks_late else 0.0
        _quietly(writer, functools.partial(writer.release, wait, timeout=LAST_WORDS_TIMEOUT))


def _on_end(task: RunningTask, runtime: Runtime) -> str:
    """The name of the task that is told of the end of the current request's stream."""
    request = task.request
    named = (request.headers or {}).get(ON_END_HEADER, getattr(request, ON_END_HEADER, None))
    return runtime.on_end_name(task.on_end if named is None else named)


def tell_application(task: RunningTask) -> None:
    """Tell the application of the stream's end, if it has ended and that is not told yet."""
    runtime = Runtime.of(task.app)
    if _on_end(task, runtime):
        telling.tell_application(task.app, runtime.relay, task.stream_id)


def _quietly(writer: StreamWriter, write: Callable[[], None]) -> None:
    """Write a stream's last words; the error on its way to Celery matters more than theirs."""
    try:
        write()
    except StreamError as error:
        about = {"stream_id": writer.stream_id, "attempt": writer.attempt}
        log.warning(
            "stream %s: its end could not be written: %s", writer.stream_id, error, extra=about
        )
