"""The writer: numbers, batches and sends the chunks of all streams of a process.

One sender thread serves every stream. It sends what has gathered in one round trip, and again as
soon as that returns: a lone chunk leaves at once, and batches grow by themselves under load. It
also keeps the leases of silent streams. Each stream keeps a copy of all its chunks until its end is
acknowledged, so that what Redis loses while the producer lives is sent again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue

from .codecs import utf8
from .errors import (
    ChunkTooLargeError,
    RelayUnavailableError,
    StreamBusyError,
    StreamClosedError,
    StreamError,
    StreamFencedError,
    StreamTooLargeError,
)
from .offsets import new_nonce
from .relays.base import Answer, Append, Claim, EndReason, Entry, Relay, Release, Renew, Request
from .settings import StreamSettings

log = logging.getLogger(__name__)

FLUSH_CHUNKS = 512
FLUSH_CHARS = 256 * 1024
# How often a silent stream's lease is renewed, and so how soon a stop is seen without a message.
POLL_INTERVAL = 1.0
FIRST_BACKOFF = 0.02
MAX_BACKOFF = 1.0


class StreamWriter:
    """One attempt's writer. `write`, `finish` and `release` belong to one producer thread.

    Attributes:
        stream_id: the stream.
        attempt: number of this attempt, from 1.
        nonce: random mark of this attempt.
        chunks: chunks written so far.
        size: bytes sent so far.
        first_chunk_at: when the first chunk was written, in seconds of the sender's clock.
        stop_asked: whether somebody asked for the stream to be stopped.
    """

    def __init__(
        self,
        sender: Sender,
        claim: Claim,
        answer: Answer,
        settings: StreamSettings,
        on_interrupt: Callable[[], None] | None,
    ) -> None:
        self.stream_id = claim.stream_id
        self.attempt = answer.number
        self.nonce = claim.nonce
        self.chunks = 0
        self.size = 0
        self.stop_asked = answer.stop
        self.first_chunk_at: float | None = None
        self._base = int(answer.reason)
        self._claim = claim
        self._sender = sender
        self._settings = settings
        self._on_interrupt = on_interrupt
        self._problem: StreamError | None = None
        # From producer to sender. Only the producer appends and counts up `_written`, only the
        # sender takes and counts up `_taken`, so neither needs a lock.
        self._pending: deque[str] = deque()
        self._written = 0
        self._taken = 0
        self._signalled = False
        self._final: Append | Release | None = None
        self._space = threading.Event()
        self._done = threading.Event()
        # The sender's own: all entries so far, and which of them is to be sent next.
        self._entries: list[Entry] = []
        self._next = 0
        self._lost = False
        self._last_answer = sender.now()
        self._failing_since: float | None = None

    # -- the producer's side

    def write(self, text: str) -> None:
        """Add a chunk, JSON text on one line. Blocks while the buffer is full.

        Raises:
            ChunkTooLargeError: larger than `stream_max_chunk_bytes`.
            StreamError: the stream cannot be written any more; which one says why.
        """
        self.add(text)
        if self.full():
            self.wait_for_space()

    def add(self, text: str) -> None:
        """As `write`, without waiting; `full` tells whether to call `wait_for_space`."""
        self.check()
        limit = self._settings.max_chunk_bytes
        if len(text) * 4 > limit and (size := len(utf8(text))) > limit:
            raise ChunkTooLargeError(
                f"a chunk of {size} bytes is larger than stream_max_chunk_bytes ({limit}): "
                "yield smaller chunks or raise the limit"
            )
        self._pending.append(text)
        self._written += len(text)
        self.chunks += 1
        if not self._signalled:
            self._signalled = True
            if self.first_chunk_at is None:
                self.first_chunk_at = self._sender.now()
            self._sender.signal(self)

    def check(self) -> None:
        """Raise the error that made writing impossible, if there is one.

        Raises:
            StreamError: the stream cannot be written any more.
        """
        if self._problem is not None:
            raise self._problem

    def full(self) -> bool:
        """Whether the buffer is full."""
        return (
            len(self._pending) >= self._settings.buffer_chunks
            or self._written - self._taken >= self._settings.buffer_bytes
        )

    def wait_for_space(self) -> None:
        """Block until the buffer is half empty.

        Raises:
            StreamError: the stream cannot be written any more.
        """
        while self._problem is None and not self._has_room():
            self._space.clear()
            if not self._has_room() and self._problem is None:
                self._space.wait()
        self.check()

    def finish(self, reason: EndReason, error: str = "", *, timeout: float | None = None) -> None:
        """End the stream behind its last chunk; returns when the relay has acknowledged it.

        Args:
            reason: the end reason.
            error: for readers, JSON `{"code", "message"}`.
            timeout: seconds to wait at most.

        Raises:
            StreamError: the end could not be written; what was acknowledged before stands.
        """
        final = Append(self.stream_id, self.attempt, self.nonce, 0, 0, b"", reason, error)
        self._conclude(final, timeout)

    def release(self, wait: float, *, timeout: float | None = None) -> None:
        """Give the stream up to the next attempt, awaited for `wait` seconds.

        Raises:
            StreamError: the relay did not acknowledge it.
        """
        wait_ms = max(0, round(wait * 1000))
        self._conclude(Release(self.stream_id, self.attempt, self.nonce, wait_ms), timeout)

    def _conclude(self, final: Append | Release, timeout: float | None) -> None:
        self.check()
        self._final = final
        self._signalled = True
        self._sender.signal(self)
        if not self._done.wait(timeout):
            self._fail(RelayUnavailableError(f"the relay did not confirm within {timeout} s"))
        self._sender.forget(self)
        self.check()

    def _has_room(self) -> bool:
        return (
            len(self._pending) <= self._settings.buffer_chunks // 2
            and self._written - self._taken <= self._settings.buffer_bytes // 2
        )

    # -- the sender's side

    @property
    def urgent(self) -> bool:
        """Whether a flush must not linger: the first chunk, the end, a full batch, a repetition."""
        return (
            not self._entries
            or self._final is not None
            or self._lost
            or self._next < len(self._entries)
            or len(self._pending) >= FLUSH_CHUNKS
        )

    @property
    def concluded(self) -> bool:
        """Whether nothing is to be sent any more."""
        return self._done.is_set()

    @property
    def has_more(self) -> bool:
        """Whether something waits to be sent."""
        return not self._done.is_set() and (
            bool(self._pending)
            or self._lost
            or self._next < len(self._entries)
            or self._final is not None
        )

    def next_request(self) -> Request | None:
        """What is to be sent now, if anything."""
        self._signalled = False
        if self._done.is_set():
            return None
        if self._lost:
            claim = self._claim
            return Claim(claim.stream_id, self.nonce, claim.owner, claim.kind, attempt=self.attempt)
        if self._next == len(self._entries):
            self._gather()
        more = self._next < len(self._entries) - 1 or bool(self._pending)
        final = None if more else self._final
        if self._next < len(self._entries):
            entry = self._entries[self._next]
        elif final is None:
            return None
        else:
            last = self._base if not self._entries else self._entries[-1].last
            entry = Entry(last + 1, last, b"")
            if isinstance(final, Release):
                return final
        end, error = (final.end, final.error) if isinstance(final, Append) else ("", "")
        return Append(
            self.stream_id, self.attempt, self.nonce, entry.first, entry.last - entry.first + 1,
            entry.data, end, error,
        )  # fmt: skip

    def renewal(self, before: float) -> Renew | None:
        """A request that keeps the lease, when nothing has been heard since `before`."""
        if self._last_answer > before or self._done.is_set() or self._lost:
            return None
        return Renew(self.stream_id, self.attempt, self.nonce)

    def accept(self, request: Request, answer: Answer, now: float) -> None:
        """Take the relay's answer to a request."""
        if answer.kind == "error":
            self.unanswered(RelayUnavailableError(f"the relay refused: {answer.reason}"), now)
            return
        self._last_answer = now
        self._failing_since = None
        match answer.kind:
            case "ok" | "duplicate":
                self._accepted(request, answer)
            case "gap":
                self._rewind(answer.number)
            case "unknown":
                self._lost = True
            case "fenced":
                self._fail(
                    StreamFencedError(
                        f"stream {self.stream_id!r}: attempt {answer.number} has taken over from "
                        f"attempt {self.attempt}"
                    )
                )
            case "closed" if answer.reason == "stopped":
                self.stop_asked = True
                self._fail(StreamClosedError(self.stream_id, answer.reason))
            case "closed":
                self._fail(StreamClosedError(self.stream_id, answer.reason))
            case "too-large":
                self._fail(
                    StreamTooLargeError(
                        f"stream {self.stream_id!r} is larger than stream_max_bytes "
                        f"({self._settings.max_bytes}): it ended as too-large"
                    )
                )
            case _:
                self._fail(StreamError(f"unexpected answer {answer.kind} to {request!r}"))
        if answer.stop and not self.stop_asked:
            self.stop_asked = True
            self._interrupt()

    def unanswered(self, error: RelayUnavailableError, now: float) -> None:
        """The relay did not answer: repeat, until `stream_relay_timeout` is over."""
        if self._failing_since is None:
            self._failing_since = now
            log.warning("stream %s: %s; trying again", self.stream_id, error)
        if now - self._failing_since >= self._settings.relay_timeout:
            self._fail(error)

    def _gather(self) -> None:
        """Make an entry of the chunks that wait."""
        pending, chars = self._pending, 0
        texts: list[str] = []
        while pending and len(texts) < FLUSH_CHUNKS and chars < FLUSH_CHARS:
            text = pending.popleft()
            chars += len(text)
            texts.append(text)
        if not texts:
            return
        self._taken += chars
        data = utf8("\n".join(texts))
        self.size += len(data) - len(texts) + 1
        first = self._base + 1 if not self._entries else self._entries[-1].last + 1
        self._entries.append(Entry(first, first + len(texts) - 1, data))
        if not self._space.is_set() and self._has_room():
            self._space.set()

    def _accepted(self, request: Request, answer: Answer) -> None:
        if isinstance(request, Claim):
            self._lost = False
            self._rewind(int(answer.reason) + 1)
        elif isinstance(request, Release):
            self._done.set()
        elif isinstance(request, Append):
            if request.count:
                self._next += 1
            if request.end:
                self._done.set()
        # A renewal that finds less than was acknowledged: Redis has lost its tail.
        elif answer.number < self._acknowledged():
            self._rewind(answer.number + 1)

    def _acknowledged(self) -> int:
        return self._entries[self._next - 1].last if self._next else self._base

    def _rewind(self, expected: int) -> None:
        """Go on from chunk number `expected`."""
        if expected <= self._base:
            self._fail(StreamError(f"stream {self.stream_id!r}: earlier attempts' chunks are lost"))
            return
        index = len(self._entries)
        while index and self._entries[index - 1].last >= expected:
            index -= 1
        self._next = index

    def _fail(self, error: StreamError) -> None:
        self._problem = error
        self._done.set()
        self._space.set()
        self._interrupt()

    def _interrupt(self) -> None:
        # Also for a problem: nobody reads what the generator would go on to produce.
        if self._on_interrupt is not None:
            self._on_interrupt()


class Sender:
    """The sender thread of a process, and the streams it serves.

    Args:
        relay: where to.
        settings: lease, linger, limits and time-outs.
        now: the clock, seconds.
    """

    def __init__(
        self, relay: Relay, settings: StreamSettings, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.now = now
        self._relay = relay
        self._settings = settings
        self._signals: SimpleQueue[StreamWriter | None] = SimpleQueue()
        self._open: dict[int, StreamWriter] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._poked = False

    def open(
        self,
        stream_id: str,
        *,
        owner: str = "",
        kind: str = "json",
        resume: bool = False,
        on_interrupt: Callable[[], None] | None = None,
    ) -> StreamWriter:
        """Claim the stream and return its writer.

        Args:
            stream_id: the stream.
            owner: the task's id.
            kind: the codec's kind.
            resume: continue the log of the attempt before.
            on_interrupt: called from the sender thread when a stop is asked or writing has become
                impossible, so that a generator that waits can be interrupted.

        Raises:
            StreamBusyError: a living producer holds it.
            StreamClosedError: it has ended.
            RelayUnavailableError: no answer for `stream_relay_timeout`.
        """
        claim = Claim(stream_id, new_nonce(), owner, kind, resume=resume)
        answer = self._claim(claim)
        if answer.kind == "busy":
            raise StreamBusyError(stream_id, answer.number / 1000)
        if answer.kind == "closed":
            raise StreamClosedError(stream_id, answer.reason)
        writer = StreamWriter(self, claim, answer, self._settings, on_interrupt)
        with self._lock:
            self._open[id(writer)] = writer
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="stream-sender", daemon=True)
                self._thread.start()
        return writer

    def signal(self, writer: StreamWriter) -> None:
        """Tell the thread that this stream has something to send."""
        self._signals.put(writer)

    def poke(self) -> None:
        """Ask the relay for stops now. Safe in a signal handler."""
        self._poked = True
        self._signals.put(None)

    def forget(self, writer: StreamWriter) -> None:
        """Renew this stream's lease no longer."""
        with self._lock:
            self._open.pop(id(writer), None)

    def close(self) -> None:
        """End the thread. Streams still open are left to their leases."""
        self._closing = True
        self._signals.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
            self._thread = None

    def _claim(self, claim: Claim) -> Answer:
        deadline = self.now() + self._settings.relay_timeout
        backoff = FIRST_BACKOFF
        while True:
            try:
                # The same nonce makes the repetition harmless.
                return self._relay.call(claim)
            except RelayUnavailableError:
                if self.now() + backoff > deadline:
                    raise
            time.sleep(backoff)
            backoff = min(MAX_BACKOFF, backoff * 2)

    def _run(self) -> None:
        ready: dict[int, StreamWriter] = {}
        interval = min(POLL_INTERVAL, self._settings.lease / 3)
        next_poll = self.now() + interval
        backoff = FIRST_BACKOFF
        while not self._closing:
            self._wait(ready, next_poll)
            requests = [
                (writer, request)
                for writer in ready.values()
                if (request := writer.next_request()) is not None
            ]
            now = self.now()
            if self._poked or now >= next_poll:
                requests += self._renewals(ready, now if self._poked else now - interval / 2)
                self._poked = False
                next_poll = now + interval
            if not requests:
                ready.clear()
                continue
            try:
                answers = self._relay.execute([request for _, request in requests])
            except RelayUnavailableError as error:
                for writer, _ in requests:
                    writer.unanswered(error, self.now())
                ready = {id(w): w for w, _ in requests if not w.concluded}
                time.sleep(backoff)
                backoff = min(MAX_BACKOFF, backoff * 2)
                continue
            ready = self._accept(requests, answers)
            if any(answer.kind == "error" for answer in answers):
                time.sleep(backoff)
                backoff = min(MAX_BACKOFF, backoff * 2)
            else:
                backoff = FIRST_BACKOFF

    def _accept(
        self, requests: list[tuple[StreamWriter, Request]], answers: list[Answer]
    ) -> dict[int, StreamWriter]:
        """Hand out the answers; return the streams that have more to send."""
        now = self.now()
        for (writer, request), answer in zip(requests, answers, strict=True):
            try:
                writer.accept(request, answer, now)
            except Exception:
                # One stream's failing callback must not take the others down.
                log.exception("stream %s: interrupting its producer failed", writer.stream_id)
        return {id(writer): writer for writer, _ in requests if not writer.concluded}

    def _wait(self, ready: dict[int, StreamWriter], until: float) -> None:
        """Add the streams that have something to send; return when it is time to send."""
        linger = self._settings.linger
        for writer in [w for w in ready.values() if not w.has_more]:
            del ready[id(writer)]
        if not ready:
            self._take(ready, until - self.now())
        if linger:
            deadline = self.now() + linger
            while not any(writer.urgent for writer in ready.values()):
                left = deadline - self.now()
                if left <= 0 or not self._take(ready, left):
                    break
        while self._take(ready, None):
            pass

    def _take(self, ready: dict[int, StreamWriter], timeout: float | None) -> bool:
        """Wait for one signal (None: do not wait); tells whether there was one."""
        try:
            if timeout is None:
                writer = self._signals.get_nowait()
            else:
                writer = self._signals.get(timeout=max(0.0, timeout))
        except Empty:
            return False
        if writer is not None:
            ready[id(writer)] = writer
        return writer is not None

    def _renewals(
        self, ready: dict[int, StreamWriter], before: float
    ) -> list[tuple[StreamWriter, Request]]:
        with self._lock:
            idle = [writer for key, writer in self._open.items() if key not in ready]
        renewals = [(writer, writer.renewal(before)) for writer in idle]
        return [(writer, request) for writer, request in renewals if request is not None]
