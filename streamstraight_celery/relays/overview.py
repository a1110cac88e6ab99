"""One-line summary of a stream, for the CLI and the streams page."""

from __future__ import annotations

from typing import TypedDict

from .base import StreamState, StreamStatus


class Overview(TypedDict):
    """A stream at one moment. Times are seconds, None: not yet; `requested_at` is since 1970."""

    task: str
    stream_id: str
    status: StreamStatus
    end_reason: str
    error: str
    attempt: int
    chunks: int
    bytes: int
    age: float
    first_chunk_after: float | None
    duration: float | None
    stop_asked: bool
    requested_at: float
    task_id: str
    queue: str
    worker: str
    labels: dict[str, str]
    conversation: str


def overview(stream_id: str, state: StreamState) -> Overview:
    """Describe a stream."""
    end = state.ended or state.now
    return {
        "task": state.task,
        "stream_id": stream_id,
        "status": state.status,
        "end_reason": state.end,
        "error": state.error,
        "attempt": state.attempt,
        "chunks": state.last,
        "bytes": state.size,
        "age": _seconds(state.created, state.now),
        "first_chunk_after": _seconds(state.created, state.first_chunk)
        if state.first_chunk
        else None,
        "duration": _seconds(state.first_chunk, end) if state.first_chunk else None,
        "stop_asked": state.stop_asked,
        "requested_at": state.created / 1000,
        "task_id": state.owner,
        "queue": state.queue,
        "worker": state.worker,
        "labels": dict(state.labels),
        "conversation": state.conversation,
    }


def _seconds(start: int, end: int) -> float:
    return round((end - start) / 1000, 3)
