"""Conversations in memory: `post.lua`, `hold.lua` again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..conversations import ConversationRequest, Hold, Post
from ..requests import Answer, Entry, Kind
from .stream import NEVER, Stream

if TYPE_CHECKING:
    from .store import MemoryStore


def begun(store: MemoryStore, request: ConversationRequest) -> Stream | None:
    """The conversation, begun if it is not there; None: that stream is not a conversation."""
    stream = store.get(request.stream_id)
    if stream is not None:
        return stream if stream.is_conversation else None
    now = store.now()
    stream = Stream(
        now, NEVER, now + store.options.kept_conversation, attempt=1, nonce=request.nonce,
        http_written=True, content_type="application/json", config="conversation",
        conversation=request.key, is_conversation=True,
    )  # fmt: skip
    store.put(request.stream_id, stream)
    return stream


def tell_all(
    store: MemoryStore, stream: Stream, request: Post | Hold, vital: bool = False
) -> tuple[Kind, int]:
    """Add an event, once for each id; and its seq."""
    before = stream.events.get(request.event_id)
    if before is not None:
        return "duplicate", before
    # Of the world's clock, as Redis' is.
    event = b'{"at":%d,' % int(time.time() * 1000) + request.event[1:]
    if stream.size + len(event) > store.options.conversation_bytes and not vital:
        return "too-large", 0
    seq = stream.last + 1
    store.add(request.stream_id, stream, Entry(seq, seq, event), "")
    keep(store, stream)
    stream.events[request.event_id] = seq
    return "ok", seq


def keep(store: MemoryStore, stream: Stream) -> None:
    """Let it live on."""
    stream.expires = store.now() + store.options.kept_conversation


def post(store: MemoryStore, request: Post) -> Answer:
    """Add an event to a conversation's log; the first one begins it."""
    stream = begun(store, request)
    if stream is None:
        return Answer("exists")
    if not request.event_id:
        return Answer("ok", stream.last)
    return Answer(*tell_all(store, stream, request, request.vital))


def hold(store: MemoryStore, request: Hold) -> Answer:
    """Compare and set the stream that a conversation names."""
    known = store.get(request.stream_id)
    current = known.latest if known else ""
    names = request.names
    if names and current in (request.instead_of, names):
        stream = begun(store, request)
        if stream is None:
            return Answer("exists")
        if request.event_id and tell_all(store, stream, request)[0] == "too-large":
            return Answer("too-large")
        stream.latest = names
        keep(store, stream)
        return Answer("ok")
    if known and not names and current and current == request.instead_of:
        known.latest = ""
        return Answer("ok")
    return Answer("held", reason=current) if current else Answer("unknown")
