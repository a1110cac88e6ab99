"""Signals of a stream's life in its worker, as Celery's own: `stream_ended.connect(receiver)`.

The first three are sent once an attempt, with the task as their sender. A receiver that raises is
logged, by Celery, and harms neither the stream nor the other receivers. Receivers run in the
process that produces the stream, and it waits for them: keep them short.

They carry `stream_id`, `task_name`, `task_id` and `attempt` (1 is the first).
"""

from __future__ import annotations

from typing import Any

from celery.utils.dispatch import Signal

COMMON = {"stream_id", "task_name", "task_id", "attempt"}

stream_started: Any = Signal(name="stream_started", providing_args=COMMON)
"""The stream is claimed; its generator is about to run."""

stream_first_chunk: Any = Signal(name="stream_first_chunk", providing_args=COMMON | {"seconds"})
"""The first chunk is on its way. `seconds`: since the task began. Not sent without a chunk."""

stream_ended: Any = Signal(
    name="stream_ended",
    providing_args=COMMON
    | {"reason", "chunks", "bytes", "seconds", "first_chunk_seconds", "elsewhere"},
)
"""The attempt is over.

`reason`: the stream's end reason; `released` when the stream is left to a next attempt (a retry),
`suspended` when that begins with an input;
else the code of the error that made writing impossible, such as `fenced` or `relay-unavailable`.
`chunks`, `bytes`, `seconds`, and `first_chunk_seconds` (None: no chunk). `elsewhere`: the end was
not written by this attempt, which found it written.
"""

stream_concluded: Any = Signal(
    name="stream_concluded", providing_args={"stream_id", "task_name", "task_id", "reason"}
)
"""A stream has ended outside an attempt; `reason` is the end reason.

In the worker's parent process, on a separate thread: it has ended a stream whose pool process
could not (it was killed, ran into the hard time limit, never got the task). And in a pool process
that gets a task whose stream was stopped while its message was in a queue. No attempt:
`stream_ended` of one that was begun may have been sent, as `released`.
"""

stream_flushed: Any = Signal(
    name="stream_flushed", providing_args={"seconds", "batches", "bytes", "answered"}
)
"""One round trip of the sender thread, which waits for receivers. For metrics.

`seconds`, `batches` (the number of chunks that each stream sent), `bytes`, and whether the store
`answered`.
"""
