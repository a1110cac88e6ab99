"""What workers ask beside writing: `conclude.lua`, `checkpoint.lua`, `recall.lua`, `expect.lua`."""

from __future__ import annotations

from ..requests import Answer, Checkpoint, Conclude, Expect, Recall
from .stream import Store


def conclude(store: Store, request: Conclude) -> Answer:
    """End or release what a delivery held."""
    stream = store.get(request.stream_id)
    if stream is None:
        return Answer("unknown")
    if stream.end:
        return Answer("closed", stream.last, stream.stop, stream.end)
    if not stream.attempt or stream.nonce != request.nonce:
        if stream.owner != request.owner:
            return Answer("fenced", stream.attempt, stream.stop)
        left = stream.lease - store.now()
        if stream.attempt and (request.begun or (not stream.released and left > 0)):
            return Answer("busy", left, stream.stop)
    end, error, wait = request.end, request.error, request.wait
    if stream.stop:
        end, error = "stopped", ""
    elif end == "producer-disconnected" and stream.expected > store.now():
        end, wait = "", stream.expected - store.now()
    if not end:
        stream.released, stream.lease = True, store.now() + wait
        store.keep(stream, wait)
        return Answer("ok", stream.attempt, stream.stop)
    return store.end(request.stream_id, stream, end, error, stream.stop)


def keep_checkpoint(store: Store, request: Checkpoint) -> Answer:
    """Keep a value for the next attempt."""
    stream = store.held(request)
    if isinstance(stream, Answer):
        return stream
    if stream.end:
        return Answer("closed", stream.last, stream.stop, stream.end)
    if request.seq > stream.last:
        return Answer("gap", stream.last + 1, stream.stop)
    stream.checkpoint = stream.attempt, request.seq, request.value
    stream.lease = store.now() + store.options.lease
    return Answer("ok", stream.last, stream.stop)


def recall(store: Store, request: Recall) -> Answer:
    """The value that was kept."""
    stream = store.get(request.stream_id)
    if stream is None:
        return Answer("unknown")
    attempt, seq, value = stream.checkpoint
    known = attempt in (stream.attempt, *(segment.attempt for segment in stream.lineage))
    return Answer("ok", seq, False, value) if known and seq <= stream.last else Answer("ok")


def expect(store: Store, request: Expect) -> Answer:
    """Note that another delivery waits."""
    stream = store.get(request.stream_id)
    if stream is None:
        return Answer("unknown")
    if stream.end:
        return Answer("closed", reason=stream.end)
    if stream.owner != request.owner:
        return Answer("fenced")
    stream.expected = store.now() + request.wait
    return Answer("ok")
