"""The log in this process's memory: the same contract as the scripts on Redis."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ...offsets import Segment
from ..about import UNKNOWN
from ..base import Notice, Page, RelayOptions
from ..conversations import Await, Hold, Post, Queue, Receive, Resume, Turn, Wake
from ..end_reasons import EXPIRED, LOST
from ..requests import (
    Answer,
    Append,
    Checkpoint,
    Claim,
    Conclude,
    Create,
    Delete,
    Delist,
    Enlist,
    Entry,
    Expect,
    Fork,
    Index,
    Indexed,
    Listed,
    NoteTold,
    Open,
    Probe,
    Progress,
    Read,
    Reap,
    Recall,
    Release,
    Renew,
    Request,
    Seal,
    Stop,
    Unindexed,
    Watch,
    Write,
)
from .conversations import (
    await_input,
    hold,
    post,
    put_into_queue,
    receive,
    resume,
    turn,
    wake,
)
from .ends_to_tell import EndsToTell, note_told
from .http_written import count_fork, delete_stream, open_stream, write_stream
from .presence import Presence
from .stream import Stream

Listener = Callable[[str, Notice], None]


_SINCE_1970 = time.time() - time.monotonic()


def steady_time() -> float:
    """Seconds since 1970, as Redis has them, that no change of the clock moves."""
    return _SINCE_1970 + time.monotonic()


class MemoryStore:
    """Streams by id. Each method mirrors the script of the same name, line for line."""

    def __init__(self, options: RelayOptions, now: Callable[[], float] = steady_time) -> None:
        self.options = options
        self._clock = now
        self._streams: dict[str, Stream] = {}
        self._listeners: list[Listener] = []
        self._ends = EndsToTell(options)
        self._presence = Presence(options)
        self._lock = threading.RLock()
        self._swept_at = self.now()

    def execute(self, request: Request) -> Answer:
        """Carry out one request."""
        with self._lock:
            self._sweep()
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
                case Conclude():
                    return self._conclude(request)
                case Checkpoint():
                    return self._checkpoint(request)
                case Recall():
                    return self._recall(request)
                case Expect():
                    return self._expect(request)
                case Open():
                    return open_stream(self, request)
                case Write():
                    return write_stream(self, request)
                case Delete():
                    return delete_stream(self, request)
                case Fork():
                    return count_fork(self, request)
                case Post():
                    return post(self, request)
                case Hold():
                    return hold(self, request)
                case Queue():
                    return put_into_queue(self, request)
                case Turn():
                    return turn(self, request)
                case Enlist() | Delist() | Listed():
                    return self._ends.execute(request, self.now())
                case NoteTold():
                    return note_told(self, request)
                case Index():
                    return Answer("ok")  # streams are found without one
                case Indexed():
                    return self._indexed(request)
                case Unindexed():
                    return Answer("ok")
                case Progress():
                    return Answer("ok", self.now())
                case Probe():
                    return Answer("ok" if self.get(request.stream_id) else "unknown")
                case Seal():
                    return Answer("refused")
                case Receive():
                    return receive(self, request)
                case Await():
                    return await_input(self, request)
                case Wake():
                    return wake(self, request)
                case Resume():
                    return resume(self, request)
                case Watch():
                    return self._presence.execute(request, self.now())

    def read(self, read: Read) -> Page | None:
        """Return the state and a page of the log."""
        with self._lock:
            stream = self.get(read.stream_id)
            if stream is None:
                return None
            if read.touch and stream.ttl is not None:
                self.keep(stream)
            entries: list[Entry] = []
            if read.limit > 0:
                later = read.attempt < stream.attempt and not stream.lineage
                seq = 0 if later else read.seq
                entries = [e.after(read.seq) for e in stream.entries if e.last > seq][: read.limit]
            return Page(stream.state(self.now()), tuple(entries))

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` for every notice, under the store's lock; returns how to end that."""
        with self._lock:
            self._listeners.append(listener)
        return lambda: self._unlisten(listener)

    def _unlisten(self, listener: Listener) -> None:
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def names(self) -> list[str]:
        """The streams there are."""
        with self._lock:
            return [name for name in list(self._streams) if self.get(name) is not None]

    def now(self) -> int:
        return int(self._clock() * 1000)

    def get(self, stream_id: str) -> Stream | None:
        stream = self._streams.get(stream_id)
        if stream is not None and stream.expires <= self.now():
            del self._streams[stream_id]
            return None
        return stream

    def _sweep(self) -> None:
        """Drop expired streams, from time to time."""
        if self.now() - self._swept_at > self.options.ttl:
            self._swept_at = self.now()
            for name in list(self._streams):
                self.get(name)

    def keep(self, stream: Stream, extra: int = 0) -> None:
        """Let it live on: as it says itself, else for the store's time to live."""
        if stream.expires_at is not None:
            stream.expires = self.now() + stream.expires_at - int(time.time() * 1000)
        else:
            own = self.options.ttl if stream.ttl is None else stream.ttl
            if stream.about.ttl and (stream.end or stream.about.ttl > own):
                own = stream.about.ttl
            stream.expires = self.now() + own + extra

    def put(self, stream_id: str, stream: Stream | None) -> None:
        """Set or delete a stream."""
        if stream is None:
            del self._streams[stream_id]
        else:
            self._streams[stream_id] = stream

    def add(
        self, stream_id: str, stream: Stream, entry: Entry | None, end: str, error: str = ""
    ) -> None:
        """Append an entry, end the stream if `end` says so, and tell readers."""
        now, before = self.now(), stream.last
        if entry is not None:
            stream.entries.append(entry)
            stream.size += len(entry.data)
            stream.last = entry.last
            stream.first_chunk = stream.first_chunk or now
        if end:
            stream.end, stream.error, stream.ended = end, error, now
        self.keep(stream)
        if end or entry is not None:
            self.publish(stream_id, stream, before + 1, end, entry.data if entry else b"")

    def publish(self, name: str, stream: Stream, first: int, end: str, data: bytes = b"") -> None:
        notice = Notice(stream.attempt, stream.nonce or "-", first, stream.last, end, data)
        for listener in list(self._listeners):
            listener(name, notice)

    def _create(self, request: Create) -> Answer:
        stream = self.get(request.stream_id)
        if stream is not None and not stream.makes_way_for(request.owner):
            same = stream.owner == request.owner and bool(stream.owner)
            if same and not stream.attempt and not stream.end:
                # Its message is sent only now.
                wait = request.wait or self.options.ttl
                stream.lease = self.now() + wait
                stream.expires = stream.lease + self.options.ttl
            return Answer("ok") if same else Answer("exists", reason=stream.end)
        now, wait = self.now(), request.wait or self.options.ttl
        self._streams[request.stream_id] = Stream(
            now, now + wait, now + wait + self.options.ttl, owner=request.owner, kind=request.kind,
            conversation=request.conversation, on_end=request.on_end, about=request.about,
        )  # fmt: skip
        return Answer("ok", 1)

    def _claim(self, request: Claim) -> Answer:
        now = self.now()
        stream = self.get(request.stream_id)
        if stream is not None and stream.makes_way_for(request.owner):
            stream = None
        known = stream is not None
        if stream is None:
            stream = Stream(now, 0, 0, owner=request.owner, about=request.about)
        had_ended = bool(stream.end)
        if stream.deleted and stream.end:
            return Answer("closed", 0, stream.stop, stream.end)
        if stream.end and request.overwrite and not stream.http_written:
            stream.end, stream.error, stream.ended, stream.stop = "", "", 0, False
            stream.suspended = 0
        lost = stream.end == "producer-disconnected" and stream.owner == request.owner
        if lost and request.after_loss:
            stream.end, stream.error, stream.ended, stream.released = "", "", 0, True
            stream.suspended = 0
        if stream.end:
            return Answer("closed", 0, stream.stop, stream.end)
        if stream.http_written:
            return Answer("fenced", stream.attempt, stream.stop)
        if stream.attempt and stream.nonce == request.nonce:
            stream.lease, stream.released = now + self.options.lease, False
            return Answer("ok", stream.attempt, stream.stop, str(stream.last))
        lineage: tuple[Segment, ...] = ()
        last = 0
        if request.attempt:
            if known and stream.attempt >= request.attempt:
                return Answer("fenced", stream.attempt, stream.stop)
            attempt = request.attempt
        else:
            held = stream.attempt and not stream.released and stream.lease > now
            if held and not request.overwrite:
                return Answer("busy", stream.lease - now, stream.stop)
            if stream.suspended and request.wakes != stream.attempt and not request.overwrite:
                return Answer("waits", stream.attempt, stream.stop)
            if request.resume and stream.attempt:
                lineage, last = stream.segments, stream.last
            attempt = stream.attempt + 1
        if not last:
            stream.entries, stream.size, stream.first_chunk = [], 0, 0
            stream.received = stream.received if lineage else 0
        stream.attempt, stream.nonce, stream.last, stream.lineage = (
            attempt, request.nonce, last, lineage,
        )  # fmt: skip
        stream.owner = stream.owner or request.owner
        stream.on_end = stream.on_end or request.on_end
        stream.kind, stream.released, stream.suspended = request.kind, False, 0
        stream.lease = now + self.options.lease
        stream.at = request.at if request.at.worker else stream.at
        if had_ended or stream.about == UNKNOWN:
            stream.about = request.about
        self._streams[request.stream_id] = stream
        self.keep(stream)
        self.publish(request.stream_id, stream, last + 1, "")
        return Answer("ok", attempt, stream.stop, str(last))

    def held(self, request: Append | Renew | Release | Checkpoint) -> Stream | Answer:
        """The stream, if the request's attempt writes it; else the answer that it does not."""
        stream = self.get(request.stream_id)
        if stream is None or stream.attempt < request.attempt:
            return Answer("unknown")
        if stream.attempt > request.attempt or stream.nonce != request.nonce:
            return Answer("fenced", stream.attempt)
        return stream

    def _append(self, request: Append) -> Answer:
        stream = self.held(request)
        if isinstance(stream, Answer):
            return stream
        first, last = request.first, request.first + request.count - 1
        if stream.end:
            if stream.end == request.end and last <= stream.last:
                return Answer("duplicate", stream.last, stream.stop, stream.end)
            return Answer("closed", stream.last, stream.stop, stream.end)
        if first > stream.last + 1:
            return Answer("gap", stream.last + 1, stream.stop)
        kind = "duplicate" if request.count and last <= stream.last else "ok"
        end, entry = request.end, None
        if last > stream.last:
            entry = Entry(first, last, request.data).after(stream.last)
            if stream.size + len(entry.data) > self.options.max_bytes:
                kind = end = "too-large"
                entry = None
        stream.lease = self.now() + self.options.lease
        self.add(request.stream_id, stream, entry, end, request.error)
        stream.received = request.received or stream.received
        return Answer(kind, stream.last, stream.stop, end)  # type: ignore[arg-type]

    def _renew(self, request: Renew | Release) -> Answer:
        stream = self.held(request)
        if isinstance(stream, Answer):
            return stream
        if stream.end:
            number = stream.last if isinstance(request, Renew) else 0
            return Answer("closed", number, stream.stop, stream.end)
        if isinstance(request, Renew):
            stream.lease = self.now() + self.options.lease
            self.keep(stream)
            return Answer("ok", stream.last, stream.stop)
        if stream.stop:
            self.end(request.stream_id, stream, "stopped", "", True)
            return Answer("ok", stream.attempt, True, "stopped")
        if not stream.released:
            stream.released, stream.lease = True, self.now() + request.wait
            stream.suspended = int(request.suspends)
            # If suspended, the message is awaited for so long after the deadline.
            self.keep(stream, request.wait + self.options.ttl * stream.suspended)
        return Answer("ok", stream.attempt, stream.stop)

    def _stop(self, request: Stop) -> Answer:
        stream = self.get(request.stream_id)
        if stream is None or stream.deleted or stream.is_conversation:
            return Answer("unknown")
        if stream.end:
            return Answer("closed", stream.last, True, stream.end)
        stream.stop = True
        producing = stream.attempt and not stream.released and not stream.http_written
        if producing and stream.lease > self.now():
            return Answer("asked", stream.attempt, True)
        ended = self.end(request.stream_id, stream, "stopped", "", True)
        return ended._replace(number=int(stream.http_written))

    def _reap(self, request: Reap) -> Answer:
        stream = self.get(request.stream_id)
        if stream is None:
            return Answer("unknown")
        if stream.end:
            return Answer("closed", stream.last, False, stream.end)
        now, suspended = self.now(), stream.suspended == 1
        # Somebody has to look that the deadline is over, and send the message.
        grace = max(self.options.reap_after, self.options.ttl if suspended else 0)
        due = stream.lease + grace
        if stream.lease <= now:
            if stream.noted < stream.lease:
                stream.noted = now
            due = max(due, stream.noted + self.options.reap_notice)
        if due > now:
            return Answer("waits" if suspended and stream.lease <= now else "alive", due - now)
        if not stream.attempt:
            return self.end(request.stream_id, stream, "expired", EXPIRED, False)
        return self.end(request.stream_id, stream, "producer-disconnected", LOST, False)

    def _conclude(self, request: Conclude) -> Answer:
        stream = self.get(request.stream_id)
        if stream is None:
            return Answer("unknown")
        if stream.end:
            return Answer("closed", stream.last, stream.stop, stream.end)
        if not stream.attempt or stream.nonce != request.nonce:
            if stream.owner != request.owner:
                return Answer("fenced", stream.attempt, stream.stop)
            left = stream.lease - self.now()
            if stream.attempt and (request.begun or (not stream.released and left > 0)):
                return Answer("busy", left, stream.stop)
        end, error, wait = request.end, request.error, request.wait
        mine = stream.suspended == 1 or stream.nonce == request.nonce
        if stream.suspended and end != "stopped" and mine:
            return Answer("busy", stream.lease - self.now(), stream.stop)
        if stream.stop:
            end, error = "stopped", ""
        elif end == "producer-disconnected" and stream.expected > self.now():
            end, wait = "", stream.expected - self.now()
        if not end:
            stream.released, stream.lease = True, self.now() + wait
            self.keep(stream, wait)
            return Answer("ok", stream.attempt, stream.stop)
        stream.on_end = stream.on_end or request.on_end
        return self.end(request.stream_id, stream, end, error, stream.stop)

    def _checkpoint(self, request: Checkpoint) -> Answer:
        stream = self.held(request)
        if isinstance(stream, Answer):
            return stream
        if stream.end:
            return Answer("closed", stream.last, stream.stop, stream.end)
        if request.seq > stream.last:
            return Answer("gap", stream.last + 1, stream.stop)
        stream.checkpoint = stream.attempt, request.seq, request.value
        stream.received = request.received or stream.received
        stream.lease = self.now() + self.options.lease
        return Answer("ok", stream.last, stream.stop)

    def _recall(self, request: Recall) -> Answer:
        stream = self.get(request.stream_id)
        if stream is None:
            return Answer("unknown")
        attempt, seq, value = stream.checkpoint
        known = attempt in (stream.attempt, *(segment.attempt for segment in stream.lineage))
        return Answer("ok", seq, False, value) if known and seq <= stream.last else Answer("ok")

    def _expect(self, request: Expect) -> Answer:
        stream = self.get(request.stream_id)
        if stream is None:
            return Answer("unknown")
        if stream.end:
            return Answer("closed", reason=stream.end)
        if stream.owner != request.owner:
            return Answer("fenced")
        stream.expected = self.now() + request.wait
        return Answer("ok")

    def _indexed(self, request: Indexed) -> Answer:
        found = [
            (-stream.created, name)
            for name in list(self._streams)
            if (stream := self.get(name)) and not stream.deleted and not stream.is_conversation
            and request.term in stream.about.terms[bool(stream.end) :]
        ]  # fmt: skip
        page = sorted(found)[request.skip :][: request.limit]
        return Answer("ok", len(found), reason=" ".join(f"{name} {-at}" for at, name in page))

    def end(self, name: str, stream: Stream, end: str, error: str, stop: bool) -> Answer:
        """End it behind its last chunk, and tell readers."""
        stream.end, stream.error, stream.ended = end, error, self.now()
        self.keep(stream)
        self.publish(name, stream, stream.last + 1, end)
        return Answer("ended", stream.last, stop, end)
