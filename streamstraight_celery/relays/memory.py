"""The relay in this process's memory, for tests and eager mode: the same contract as on Redis."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..offsets import Segment
from .base import (
    Answer,
    Append,
    AsyncRelay,
    Claim,
    Create,
    Entry,
    Notice,
    OnGap,
    OnNotice,
    Page,
    Read,
    Reap,
    Relay,
    RelayOptions,
    Release,
    Renew,
    Request,
    Stop,
    StreamState,
    Watcher,
)
from .scripts import REAPED

Listener = Callable[[str, Notice], None]


@dataclass(slots=True)
class _Stream:
    """The fields of the hash in `lua/README.md`, and the log."""

    created: int
    lease: int
    expires: int
    attempt: int = 0
    nonce: str = ""
    last: int = 0
    released: bool = False
    end: str = ""
    error: str = ""
    stop: bool = False
    owner: str = ""
    kind: str = "json"
    size: int = 0
    first_chunk: int = 0
    ended: int = 0
    lineage: tuple[Segment, ...] = ()
    entries: list[Entry] = field(default_factory=list)


class MemoryStore:
    """Streams by id. Each method mirrors the script of the same name, line for line."""

    def __init__(self, options: RelayOptions, now: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._clock = now
        self._streams: dict[str, _Stream] = {}
        self._listeners: list[Listener] = []
        self._lock = threading.RLock()

    def execute(self, request: Request) -> Answer:
        """Carry out one request."""
        with self._lock:
            match request:
                case Create():
                    return self._create(request)
                case Claim():
                    return self._claim(request)
                case Append():
                    return self._append(request)
                case Renew() | Release():
                    return self._renew(request)
                case Stop():
                    return self._stop(request)
                case Reap():
                    return self._reap(request)

    def read(self, read: Read) -> Page | None:
        """Return the state and a page of the log."""
        with self._lock:
            stream = self._get(read.stream_id)
            if stream is None:
                return None
            entries: list[Entry] = []
            if read.limit > 0:
                later = read.attempt < stream.attempt and not stream.lineage
                seq = 0 if later else read.seq
                entries = [e.after(read.seq) for e in stream.entries if e.last > seq][: read.limit]
            return Page(self._state(stream), tuple(entries))

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` for every notice, under the store's lock; returns how to end that."""
        with self._lock:
            self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _get(self, stream_id: str) -> _Stream | None:
        stream = self._streams.get(stream_id)
        if stream is not None and stream.expires <= self._now():
            del self._streams[stream_id]
            return None
        return stream

    def _keep(self, stream: _Stream, extra: int = 0) -> None:
        stream.expires = self._now() + self._options.ttl + extra

    def _publish(self, name: str, stream: _Stream, first: int, end: str, data: bytes = b"") -> None:
        notice = Notice(stream.attempt, stream.nonce or "-", first, stream.last, end, data)
        for listener in list(self._listeners):
            listener(name, notice)

    def _create(self, request: Create) -> Answer:
        stream = self._get(request.stream_id)
        if stream is not None:
            same = stream.owner == request.owner and bool(stream.owner)
            return Answer("ok") if same else Answer("exists", reason=stream.end)
        now = self._now()
        self._streams[request.stream_id] = _Stream(
            now,
            now + self._options.ttl,
            now + self._options.ttl,
            owner=request.owner,
            kind=request.kind,
        )
        return Answer("ok", 1)

    def _claim(self, request: Claim) -> Answer:
        now = self._now()
        stream = self._get(request.stream_id)
        known = stream is not None
        if stream is None:
            stream = _Stream(now, 0, 0, owner=request.owner)
        if stream.end:
            return Answer("closed", 0, stream.stop, stream.end)
        if stream.attempt and stream.nonce == request.nonce:
            stream.lease = now + self._options.lease
            return Answer("ok", stream.attempt, stream.stop, str(stream.last))
        lineage: tuple[Segment, ...] = ()
        last = 0
        if request.attempt:
            if known and stream.attempt >= request.attempt:
                return Answer("fenced", stream.attempt, stream.stop)
            attempt = request.attempt
        else:
            if stream.attempt and not stream.released and stream.lease > now:
                return Answer("busy", stream.lease - now, stream.stop)
            if request.resume and stream.attempt:
                lineage, last = stream_segments(stream), stream.last
            attempt = stream.attempt + 1
        if not last:
            stream.entries, stream.size, stream.first_chunk = [], 0, 0
        stream.attempt, stream.nonce, stream.last, stream.lineage = (
            attempt, request.nonce, last, lineage,
        )  # fmt: skip
        stream.owner = stream.owner or request.owner
        stream.kind, stream.released = request.kind, False
        stream.lease = now + self._options.lease
        self._streams[request.stream_id] = stream
        self._keep(stream)
        self._publish(request.stream_id, stream, last + 1, "")
        return Answer("ok", attempt, stream.stop, str(last))

    def _held(self, request: Append | Renew | Release) -> _Stream | Answer:
        stream = self._get(request.stream_id)
        if stream is None or stream.attempt < request.attempt:
            return Answer("unknown")
        if stream.attempt > request.attempt or stream.nonce != request.nonce:
            return Answer("fenced", stream.attempt)
        return stream

    def _append(self, request: Append) -> Answer:
        stream = self._held(request)
        if isinstance(stream, Answer):
            return stream
        first, last, data = request.first, request.first + request.count - 1, request.data
        if stream.end:
            if stream.end == request.end and last <= stream.last:
                return Answer("duplicate", stream.last, stream.stop, stream.end)
            return Answer("closed", stream.last, stream.stop, stream.end)
        if first > stream.last + 1:
            return Answer("gap", stream.last + 1, stream.stop)
        now = self._now()
        kind = "duplicate" if request.count and last <= stream.last else "ok"
        end, before = request.end, stream.last
        if last > before:
            entry = Entry(first, last, data).after(before)
            if stream.size + len(entry.data) > self._options.max_bytes:
                kind = end = "too-large"
                data = b""
            else:
                stream.entries.append(entry)
                stream.size += len(entry.data)
                stream.last, data = last, entry.data
                stream.first_chunk = stream.first_chunk or now
        else:
            data = b""
        stream.lease = now + self._options.lease
        if end:
            stream.end, stream.error, stream.ended = end, request.error, now
        self._keep(stream)
        if end or stream.last > before:
            self._publish(request.stream_id, stream, before + 1, end, data)
        return Answer(kind, stream.last, stream.stop, end)  # type: ignore[arg-type]

    def _renew(self, request: Renew | Release) -> Answer:
        stream = self._held(request)
        if isinstance(stream, Answer):
            return stream
        if stream.end:
            number = stream.last if isinstance(request, Renew) else 0
            return Answer("closed", number, stream.stop, stream.end)
        if isinstance(request, Renew):
            stream.lease = self._now() + self._options.lease
            self._keep(stream)
            return Answer("ok", stream.last, stream.stop)
        stream.released, stream.lease = True, self._now() + request.wait
        self._keep(stream, request.wait)
        return Answer("ok", stream.attempt, stream.stop)

    def _stop(self, request: Stop) -> Answer:
        stream = self._get(request.stream_id)
        if stream is None:
            return Answer("unknown")
        if stream.end:
            return Answer("closed", stream.last, True, stream.end)
        stream.stop = True
        if stream.attempt and not stream.released and stream.lease > self._now():
            return Answer("asked", stream.attempt, True)
        return self._end(request.stream_id, stream, "stopped", "", True)

    def _reap(self, request: Reap) -> Answer:
        stream = self._get(request.stream_id)
        if stream is None:
            return Answer("unknown")
        if stream.end:
            return Answer("closed", stream.last, False, stream.end)
        left = stream.lease + self._options.reap_after - self._now()
        if left > 0:
            return Answer("alive", left)
        return self._end(request.stream_id, stream, "producer-disconnected", REAPED, False)

    def _end(self, name: str, stream: _Stream, end: str, error: str, stop: bool) -> Answer:
        stream.end, stream.error, stream.ended = end, error, self._now()
        self._keep(stream)
        self._publish(name, stream, stream.last + 1, end)
        return Answer("ended", stream.last, stop, end)

    def _state(self, stream: _Stream) -> StreamState:
        now = self._now()
        return StreamState(
            attempt=stream.attempt, nonce=stream.nonce, last=stream.last, lineage=stream.lineage,
            end=stream.end, error=stream.error, stop_asked=stream.stop, released=stream.released,
            owner=stream.owner, kind=stream.kind, size=stream.size, lease_left=stream.lease - now,
            now=now, created=stream.created, first_chunk=stream.first_chunk, ended=stream.ended,
        )  # fmt: skip


def stream_segments(stream: _Stream) -> tuple[Segment, ...]:
    return (*stream.lineage, Segment(stream.attempt, stream.nonce, stream.last))


class MemoryRelay(Relay):
    """A `MemoryStore` as workers and web routes use it."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        return [self._store.execute(request) for request in requests]

    def read(self, read: Read) -> Page | None:
        return self._store.read(read)


class AsyncMemoryRelay(AsyncRelay):
    """A `MemoryStore` as the relay server uses it."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def execute(self, requests: Sequence[Request]) -> list[Answer]:
        return [self._store.execute(request) for request in requests]

    async def read(self, reads: Sequence[Read]) -> list[Page | None]:
        return [self._store.read(read) for read in reads]

    def watch(self, on_notice: OnNotice, on_gap: OnGap) -> Watcher:
        return _MemoryWatcher(self._store, on_notice)

    async def ping(self) -> None:
        return None


class _MemoryWatcher(Watcher):
    def __init__(self, store: MemoryStore, on_notice: OnNotice) -> None:
        self._on_notice = on_notice
        self._names: set[str] = set()
        self._loop = asyncio.get_running_loop()
        self._unlisten = store.listen(self._hear)

    def _hear(self, stream_id: str, notice: Notice) -> None:
        # Called on whichever thread wrote.
        if stream_id in self._names:
            self._loop.call_soon_threadsafe(self._on_notice, stream_id, notice)

    async def subscribe(self, stream_id: str) -> None:
        self._names.add(stream_id)

    def unsubscribe(self, stream_id: str) -> None:
        self._names.discard(stream_id)

    async def close(self) -> None:
        self._unlisten()


# memory:// names a store of this process, so a URL finds the same one from the task and the relay.
_STORES: weakref.WeakValueDictionary[str, MemoryStore] = weakref.WeakValueDictionary()


def store_for(url: str, options: RelayOptions) -> MemoryStore:
    """Return the process's store of that name (`memory://name`), made when there is none."""
    store = _STORES.get(url)
    if store is None:
        store = _STORES[url] = MemoryStore(options)
    return store
