"""Tells signals, traces and the log of an attempt's beginning, first chunk and end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from ..codecs import Codec
from ..producing.writer import StreamWriter
from ..runtime import Runtime
from ..signals import stream_concluded, stream_ended, stream_first_chunk, stream_started
from .tracing import StreamSpan

log = logging.getLogger(__name__)


class RunningTask(Protocol):
    """What of a stream task running it takes; `StreamTask` describes it."""

    name: str
    app: Any
    request: Any
    request_stack: Any
    backend: Any
    acks_late: bool
    ignore_result: bool
    on_redelivery: Any
    on_lost: Any
    on_end: Any
    ttl: float | None
    unwatched: float | None
    soft_time_limit: float | None
    max_retries: int | None
    sends: bool

    @property
    def retries_no_more(self) -> bool: ...

    _stream_function: Callable[..., Any]

    @property
    def stream_id(self) -> str: ...
    def codec_in(self, runtime: Runtime) -> Codec: ...
    def signature_from_request(self, *args: Any, **kwargs: Any) -> Any: ...


class Lifecycle:
    """One attempt's life.

    Args:
        task: whose request it is.
        writer: the attempt's writer.
        started: when the task began, in seconds of the monotonic clock.
    """

    def __init__(self, task: RunningTask, writer: StreamWriter, started: float) -> None:
        self._task = task
        self._writer = writer
        self._started = started
        self._who = {
            "stream_id": writer.stream_id,
            "task_name": task.name,
            "task_id": task.request.id,
            "attempt": writer.attempt,
        }

    def begin(self) -> None:
        """The stream is claimed."""
        log.debug(
            "stream %s: attempt %d begins", self._writer.stream_id, self._writer.attempt,
            extra=self._who,
        )  # fmt: skip
        self._writer.on_first_chunk = self._first_chunk
        self._span = StreamSpan(self._task.name, self._task.request, self._who)
        stream_started.send(sender=self._task, **self._who)

    def end(self) -> None:
        """The attempt is over, and its end is written, as far as that was possible."""
        writer = self._writer
        what = {
            "reason": writer.outcome,
            "chunks": writer.chunks,
            "bytes": writer.size,
            "seconds": round(time.monotonic() - self._started, 6),
            "first_chunk_seconds": self._first_chunk_seconds(),
            "elsewhere": writer.ended_elsewhere,
        }
        log.info(
            "stream %s: attempt %d ended: %s, %d chunks, %d bytes, %.3f s",
            writer.stream_id, writer.attempt, *list(what.values())[:4],
            extra={**self._who, **what},
        )  # fmt: skip
        self._span.end(what)
        stream_ended.send(sender=self._task, **self._who, **what)

    def _first_chunk(self) -> None:
        self._span.first_chunk()
        seconds = self._first_chunk_seconds()
        stream_first_chunk.send(sender=self._task, **self._who, seconds=seconds)

    def _first_chunk_seconds(self) -> float | None:
        at = self._writer.first_chunk_at
        return None if at is None else round(at - self._started, 6)


def begin(task: RunningTask, writer: StreamWriter, started: float) -> None:
    """An attempt begins; `started` is when its task did, by the monotonic clock."""
    task.request.stream_lifecycle = life = Lifecycle(task, writer, started)
    life.begin()


def end(task: RunningTask) -> None:
    """The current request's attempt, if it has begun one, is over."""
    life: Lifecycle | None = getattr(task.request, "stream_lifecycle", None)
    if life is not None:
        task.request.stream_lifecycle = None
        life.end()


def conclude(task: RunningTask, reason: str) -> None:
    """The stream of the current request has ended before an attempt could begin."""
    stream_concluded.send(
        sender=task, stream_id=task.stream_id, task_name=task.name, task_id=task.request.id,
        reason=reason,
    )  # fmt: skip
