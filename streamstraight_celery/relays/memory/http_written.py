"""Streams in memory that others write: `open.lua`, `write.lua`, `delete.lua`, `fork.lua` again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..requests import Answer, Delete, Entry, Fork, Open, Write
from .stream import NEVER, Stream

if TYPE_CHECKING:
    from .store import MemoryStore

# Names of producers a stream keeps; the same as in write.lua.
MAX_PRODUCERS = 1000


def open_stream(store: MemoryStore, request: Open) -> Answer:
    """Create a stream."""
    stream = store.get(request.stream_id)
    if stream is not None:
        if (
            stream.deleted
            or stream.config != request.config
            or bool(stream.end) != bool(request.end)
        ):
            return Answer("exists")
        same = stream.nonce == request.nonce
        return Answer("ok" if same else "duplicate", reason=stream.position)
    size = sum([len(entry.data) for entry in request.inherited])
    if size + len(request.data) > store.options.max_bytes:
        return Answer("too-large")
    now, last = store.now(), request.lineage[-1].last if request.lineage else 0
    stream = Stream(
        now, NEVER, NEVER, attempt=request.lineage[-1].attempt + 1 if last else 1, last=last,
        nonce=request.nonce, kind=request.kind, http_written=True,
        content_type=request.content_type,
        config=request.config, ttl=request.ttl, expires_at=request.expires_at, size=size,
        lineage=request.lineage, entries=list(request.inherited), source=request.source,
        first_chunk=now if last else 0,
    )  # fmt: skip
    store.put(request.stream_id, stream)
    entry = Entry(last + 1, last + request.count, request.data) if request.count else None
    store.add(request.stream_id, stream, entry, request.end)
    return Answer("ok", reason=stream.position)


def write_stream(store: MemoryStore, request: Write) -> Answer:
    """Add to a stream, and perhaps end it."""
    stream = store.get(request.stream_id)
    if stream is None:
        return Answer("unknown")
    if stream.deleted:
        return Answer("deleted")
    identity = (request.producer, request.epoch, request.number)
    if stream.end:
        again = stream.ended_by == identity if request.producer else not request.count
        if again and (request.producer or request.end):
            return Answer("duplicate", request.number, reason=stream.position)
        return Answer("closed", reason=stream.position)
    if not stream.http_written or stream.is_conversation:
        return Answer("held")
    if request.content_type not in ("", stream.content_type):
        return Answer("type", reason=stream.content_type)
    if request.producer and (refused := _check_producer(stream, request)) is not None:
        return refused
    if request.sequence and request.sequence.encode() <= stream.sequence.encode():
        return Answer("sequence")
    if stream.size + len(request.data) > store.options.max_bytes:
        return Answer("too-large")
    first = stream.last + 1
    entry = Entry(first, first + request.count - 1, request.data) if request.count else None
    store.add(request.stream_id, stream, entry, request.end)
    if request.producer:
        stream.producers[request.producer] = request.epoch, request.number
        stream.ended_by = identity if request.end else None
    stream.sequence = request.sequence or stream.sequence
    return Answer("ok", request.number, reason=stream.position)


def delete_stream(store: MemoryStore, request: Delete) -> Answer:
    """Delete a stream that no worker writes."""
    stream = store.get(request.stream_id)
    if stream is None:
        return Answer("unknown")
    if stream.deleted:
        return Answer("deleted")
    if not stream.end and not stream.http_written:
        return Answer("held")
    stream.entries, stream.error, stream.checkpoint = [], "", (0, 0, "")
    if stream.forks > 0 or (request.keep_name and stream.owner):
        stream.deleted = True
    else:
        store.put(request.stream_id, None)
    source = "" if stream.forks > 0 else stream.source
    store.publish(request.stream_id, stream, stream.last + 1, "deleted")
    return Answer("ok", reason=source)


def count_fork(store: MemoryStore, request: Fork) -> Answer:
    """Count a fork in or out."""
    stream = store.get(request.stream_id)
    if stream is None:
        return Answer("unknown")
    if request.by > 0 and stream.deleted:
        return Answer("deleted")
    if request.by < 0 and stream.forks <= 0:
        return Answer("ok")  # a fork of an earlier stream of that name
    stream.forks += request.by
    if not stream.deleted or stream.forks > 0:
        return Answer("ok", stream.forks)
    store.put(request.stream_id, None)
    return Answer("ok", reason=stream.source)


def _check_producer(stream: Stream, request: Write) -> Answer | None:
    if request.producer not in stream.producers and len(stream.producers) >= MAX_PRODUCERS:
        return Answer("too-large")
    epoch, number = stream.producers.get(request.producer, (-1, -1))
    if request.epoch < epoch:
        return Answer("fenced", epoch)
    if request.epoch > epoch:
        if request.number:
            return Answer("gap") if epoch < 0 else Answer("epoch")
    elif request.number <= number:
        return Answer("duplicate", number, reason=stream.position)
    elif request.number > number + 1:
        return Answer("gap", number + 1)
    return None
