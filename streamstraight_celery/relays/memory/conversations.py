"""Conversations in memory: `post.lua`, `hold.lua`, `queue.lua`, `turn.lua`,
`receive.lua`, `await.lua`, `wake.lua`, `resume.lua` again.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from ..conversations import (
    MAX_QUEUE,
    MOST_WOKEN,
    Await,
    Hold,
    Post,
    Queue,
    Receive,
    Resume,
    Turn,
    Wake,
)
from ..requests import Answer, Entry, Kind
from .stream import NEVER, Stream, Wait

if TYPE_CHECKING:
    from .store import MemoryStore


def begun(store: MemoryStore, request: Post | Hold | Queue | Await) -> Stream | None:
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
    store: MemoryStore, stream: Stream, request: Post | Hold | Queue, vital: bool = False
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
    kept = max(store.options.kept_conversation, stream.about.ttl)
    stream.expires = store.now() + kept


def post(store: MemoryStore, request: Post) -> Answer:
    """Add an event to a conversation's log; the first one begins it."""
    stream = begun(store, request)
    if stream is None:
        return Answer("exists")
    if not request.event_id:
        return Answer("ok", stream.last)
    by = stream.settled.get(request.answers, request.event_id)
    if by != request.event_id:
        return Answer("closed", reason=by)
    if request.refuses:
        kept = {each: event for each, event in stream.settled.items() if event != request.refuses}
        stream.settled = kept
    kind, seq = tell_all(store, stream, request, request.vital)
    if request.answers and kind == "ok":
        stream.settled[request.answers] = request.event_id
    new = kind == "ok" and request.wakes
    for name, wait in stream.waits.items():
        wanted = new and name != request.sender and wait.question == request.answers
        wait.due = wait.due or wanted or name == request.ends
    return Answer(kind, seq, any(wait.due for wait in stream.waits.values()))


def hold(store: MemoryStore, request: Hold) -> Answer:
    """Compare and set the stream that a conversation names."""
    known = store.get(request.stream_id)
    current = known.latest if known else ""
    names = request.names
    if names and current in (request.instead_of, names):
        stream = begun(store, request)
        if stream is None:
            return Answer("exists")
        if current != names and stream.queue:
            return Answer("waits")
        if request.event_id and tell_all(store, stream, request)[0] == "too-large":
            return Answer("too-large")
        stream.latest = names
        keep(store, stream)
        return Answer("ok")
    if known and not names and current and current == request.instead_of:
        known.latest = ""
        return Answer("ok")
    return Answer("held", reason=current) if current else Answer("unknown")


def put_into_queue(store: MemoryStore, request: Queue) -> Answer:
    """Put a stream into the conversation's queue."""
    stream = begun(store, request)
    if stream is None:
        return Answer("exists")
    if request.names in (stream.latest, *stream.queue):
        return Answer("ok")
    if len(stream.queue) >= MAX_QUEUE or tell_all(store, stream, request)[0] == "too-large":
        return Answer("too-large")
    stream.queue.append(request.names)
    stream.messages[request.names] = request.message
    return Answer("ok")


def turn(store: MemoryStore, request: Turn) -> Answer:
    """Whose turn it is in a conversation."""
    stream = store.get(request.stream_id)
    if stream is None or not stream.is_conversation:
        return Answer("unknown")
    stream.messages.pop(request.sent, None)
    if stream.latest == request.ended:
        stream.messages.pop(stream.latest, None)
        if stream.queue:
            stream.latest = stream.queue.pop(0)
    waits = request.about in stream.queue
    message = stream.messages.get(stream.latest, "")
    return Answer("ok", len(stream.queue), waits, f"{stream.latest}\n{message}")


def receive(store: MemoryStore, request: Receive) -> Answer:
    """From which event on a stream's task receives messages, and how far it has."""
    stream = store.get(request.stream_id)
    if stream is None or not stream.is_conversation:
        return Answer("unknown")
    began = stream.events.get(f"stream:{request.names}", 0) if request.child else stream.read_to
    begun = stream.begun.setdefault(request.names, began)
    stream.read_to = max(stream.read_to, request.seq)
    return Answer("ok", begun)


def await_input(store: MemoryStore, request: Await) -> Answer:
    """Keep the message that begins a suspended task again."""
    stream = begun(store, request)
    if stream is None:
        return Answer("exists")
    if stream.last > request.seen:
        kept = stream.waits.get(request.names)
        if kept is not None and kept.attempt == request.attempt:
            del stream.waits[request.names]
        return Answer("gap", stream.last)
    what = request.names, request.what
    deadline = stream.deadlines.get(what, store.now() + request.wait)
    left = deadline - store.now()
    if left <= 0:
        return Answer("closed")
    if request.names not in stream.waits and len(stream.waits) >= MAX_QUEUE:
        return Answer("too-large")
    stream.deadlines[what] = deadline
    wait = Wait(request.attempt, deadline, request.question, request.message)
    stream.waits[request.names] = wait
    about = stream.about
    longer = max(about.ttl, left + store.options.kept_conversation)
    stream.about = dataclasses.replace(about, ttl=longer)
    keep(store, stream)
    return Answer("ok", left)


def wake(store: MemoryStore, request: Wake) -> Answer:
    """Hand out the messages of suspended tasks that are to be sent now."""
    stream = store.get(request.stream_id)
    if stream is None or not stream.is_conversation:
        return Answer("unknown")
    done = stream.waits.get(request.done)
    if done is not None and done.attempt == request.attempt:
        del stream.waits[request.done]
    rows: list[str] = []
    now = store.now()
    for name, wait in stream.waits.items():
        free = wait.held <= now and len(rows) < MOST_WOKEN
        if free and (wait.due or wait.deadline <= now):
            wait.held = now + store.options.lease
            rows.append(f"{name} {wait.attempt} {wait.message}")
    return Answer("ok", len(stream.waits), reason="\n".join(rows))


def resume(store: MemoryStore, request: Resume) -> Answer:
    """The message that begins a suspended stream's next attempt is about to be sent."""
    stream = store.get(request.stream_id)
    if stream is None:
        return Answer("unknown")
    if stream.end:
        return Answer("closed", stream.attempt, reason=stream.end)
    if stream.attempt != request.attempt:
        return Answer("fenced", stream.attempt)
    if stream.suspended == 1:
        stream.suspended, stream.lease = 2, store.now() + store.options.ttl
        store.keep(stream, store.options.ttl)
    return Answer("ok", stream.attempt)
