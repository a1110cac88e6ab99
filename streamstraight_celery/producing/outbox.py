"""What one attempt has to send, and what the relay's answers mean for it. No I/O, no threads.

A copy of all the attempt's chunks is kept until the end is acknowledged, so that what Redis loses
while the producer lives is sent again: from where a `gap` says, all of it after an `unknown`.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from math import inf

from ..codecs import utf8
from ..errors import (
    RelayRefusedError,
    RelayUnavailableError,
    StreamClosedError,
    StreamError,
    StreamFencedError,
    StreamTooLargeError,
)
from ..relays.requests import (
    Answer,
    Append,
    Checkpoint,
    Claim,
    Enlist,
    Entry,
    Release,
    Renew,
    Request,
)
from ..relays.sealing import can_be_sealed
from ..settings import StreamSettings

log = logging.getLogger(__name__)

FLUSH_CHUNKS = 512
FLUSH_CHARS = 256 * 1024


class Outbox:
    """One attempt's chunks on their way.

    The producer only appends to `pending`, counts `written`, and sets `checkpoint`, `final`,
    `signalled` and `blocked`; everything else belongs to the sender, or to the producer's thread
    while that has the sender's turn. So neither needs a lock.

    Args:
        claim, answer: how the attempt began.
        settings: limits and time-outs.
        now: seconds of the sender's clock.
        on_room: called when a `blocked` producer has room again.
        on_change: called when the attempt is done or a stop is asked; told whether it is the stop.

    Attributes:
        stream_id, attempt, nonce: what is written.
        signalled: the sender knows that something waits; it resets this before it looks.
        blocked: the producer waits for room.
        pending: chunks that wait, JSON texts.
        written: characters ever added to `pending`; `taken`: ever taken from it.
        final: the request that concludes the attempt, once the producer has decided.
        checkpoint: what is to be kept for the next attempt.
        size: bytes of chunks taken so far.
        stop_asked: whether the relay has said that a stop is asked.
        problem: why nothing can be written any more.
        done: whether nothing is left to do: acknowledged to the end, or a problem.
        whole: all of the stream, once it has ended, if it can be sealed.
    """

    def __init__(
        self,
        claim: Claim,
        answer: Answer,
        settings: StreamSettings,
        now: float,
        *,
        on_room: Callable[[], None],
        on_change: Callable[[bool], None],
    ) -> None:
        self.stream_id = claim.stream_id
        self.attempt = answer.attempt
        self.nonce = claim.nonce
        self.signalled = False
        self.blocked = False
        self.pending: deque[str] = deque()
        self.written = 0
        self.taken = 0
        self.size = 0
        self.final: Append | Release | None = None
        self.checkpoint: Checkpoint | None = None
        # The first chunk after each message that the producer has received, and its place.
        self.received: list[tuple[int, int]] = []
        self.stop_asked = answer.stop
        self.problem: StreamError | None = None
        self.done = False
        self.whole: list[Entry] = []
        # When the last lone chunk was acknowledged, and how long its producer waited for that.
        self.alone_at = self.alone_took = 0.0
        self._claim = claim
        self._on_room = on_room
        self._on_change = on_change
        self._settings = settings
        self._base = answer.continues
        self._entries: list[Entry] = []
        self._next = 0
        self._kept: Checkpoint | None = None
        self._lost = False
        self._relist = False
        self._ended = ""
        self._last_answer = now
        self._failing_since: float | None = None

    @property
    def outcome(self) -> str:
        """An end reason, `released`, `suspended`, or a problem's code; `""`: undecided."""
        problem, final = self.problem, self.final
        if isinstance(problem, StreamClosedError):
            return problem.reason
        if isinstance(problem, StreamTooLargeError):
            return "too-large"
        if problem is not None:
            return problem.code
        if isinstance(final, Release):
            return self._ended or ("suspended" if final.suspends else "released")
        return final.end if final is not None else ""

    @property
    def ended_elsewhere(self) -> bool:
        """The outcome is an end that somebody else has written: the parent process, a relay."""
        return isinstance(self.problem, StreamClosedError)

    @property
    def urgent(self) -> bool:
        """Whether a flush must not linger: first chunk, end, full batch or buffer, repetition."""
        return (
            not self._entries
            or self.final is not None
            or self._lost
            or self._next < len(self._entries)
            or len(self.pending) >= FLUSH_CHUNKS
            or self.blocked
        )

    @property
    def has_more(self) -> bool:
        """Whether something waits to be sent."""
        return not self.done and (
            bool(self.pending)
            or self._lost
            or self._relist
            or self._next < len(self._entries)
            or self.checkpoint is not self._kept
            or self.final is not None
        )

    def next_request(self) -> Request | None:
        """What is to be sent now, if anything."""
        # Before anything is taken: a chunk that is added from here on signals again.
        self.signalled = False
        if self.done:
            return None
        if self._lost:
            claim = self._claim
            return Claim(
                self.stream_id, self.nonce, claim.owner, claim.kind, attempt=self.attempt,
                on_end=claim.on_end, about=claim.about, at=claim.at,
            )  # fmt: skip
        if self._relist:
            return Enlist(self.stream_id)
        checkpoint = self.checkpoint
        if checkpoint is not None and checkpoint is not self._kept:
            sent = self._entries[self._next - 1].last if self._next else self._base
            if checkpoint.seq <= sent:
                return checkpoint
        if self._next == len(self._entries):
            self._gather()
        final = self.final
        if self._next < len(self._entries) - 1 or self.pending:
            final = None
        if self._next < len(self._entries):
            entry = self._entries[self._next]
        elif final is None or isinstance(final, Release):
            return final
        else:
            last = self._last()
            entry = Entry(last + 1, last, b"")
        end, error = (final.end, final.error) if isinstance(final, Append) else ("", "")
        count = entry.last - entry.first + 1
        return Append(
            self.stream_id, self.attempt, self.nonce, entry.first, count, entry.data, end, error,
            self._received_by(entry.last),
        )  # fmt: skip

    def alone(self, text: str) -> Append | None:
        """What sends this chunk by itself; None, and it was not taken: something else waits.

        For the producer's own thread, which a signal may interrupt anywhere: the chunk is either
        in an entry, which the sender sends (again), or it is not.
        """
        if self.has_more or self._failing_since is not None:
            return None
        number, data = self._last() + 1, utf8(text)
        self._entries.append(Entry(number, number, data))
        self.size += len(data)
        self.written += len(text)
        self.taken += len(text)
        return Append(
            self.stream_id, self.attempt, self.nonce, number, 1, data, "", "",
            self._received_by(number),
        )  # fmt: skip

    def has_room(self) -> bool:
        """Whether the buffer is at most half full."""
        settings = self._settings
        return (
            len(self.pending) <= settings.buffer_chunks // 2
            and self.written - self.taken <= settings.buffer_bytes // 2
        )

    def renewal(self, before: float) -> Renew | None:
        """A request that keeps the lease, when nothing has been heard since `before`."""
        if self._last_answer > before or self.done or self._lost:
            return None
        return Renew(self.stream_id, self.attempt, self.nonce)

    def accept(self, request: Request, answer: Answer, now: float) -> None:
        """Take the relay's answer to a request."""
        name, stop_known = self.stream_id, self.stop_asked
        if answer.kind == "error":
            refusal = RelayUnavailableError(f"the stream store refused: {answer.message}")
            self.unanswered(refusal, now)
            return
        self._last_answer = now
        if answer.kind != "waits":
            self._failing_since = None
        self.stop_asked = self.stop_asked or answer.stop
        match answer.kind:
            case "ok" | "duplicate":
                self._accepted(request, answer)
            case "gap":
                self._rewind(answer.expected_seq)
            case "unknown":
                self._lost = True
            case "fenced":
                self._fail(
                    StreamFencedError(
                        f"stream {name!r}: attempt {answer.attempt} has taken over from "
                        f"attempt {self.attempt}"
                    )
                )
            case "closed":
                self.stop_asked = self.stop_asked or answer.end_reason == "stopped"
                self._fail(StreamClosedError(name, answer.end_reason))
            case "waits":
                pass  # not acknowledged yet, which is no sign of life: the same again in a moment
            case "refused":
                self._fail(RelayRefusedError(answer.message))
            case "too-large":
                limit = self._settings.max_bytes
                self._fail(
                    StreamTooLargeError(
                        f"stream {name!r} is larger than stream_max_bytes ({limit}): "
                        "it ended as too-large"
                    )
                )
            case _:
                self._fail(
                    StreamError(f"unexpected answer {answer.kind} to {type(request).__name__}")
                )
        if self.done or self.stop_asked is not stop_known:
            self._changed(self.stop_asked and not stop_known)

    def unanswered(self, error: RelayUnavailableError, now: float) -> None:
        """The relay did not answer: repeat, until `stream_relay_timeout` is over."""
        if self._failing_since is None:
            self._failing_since = now
            about = {"stream_id": self.stream_id, "attempt": self.attempt}
            log.warning("stream %s: %s; trying again", about["stream_id"], error, extra=about)
        if now - self._failing_since >= self._settings.relay_timeout:
            self._fail(error)
            self._changed(False)

    def abandon(self, error: StreamError) -> None:
        """Nobody sends any more: who waits for the end is told."""
        if not self.done:
            self._fail(error)
            self._changed(False)

    def _changed(self, stop: bool) -> None:
        if self.done:
            self._entries = []  # now, and not when the garbage collector finds the writer
        self._on_change(stop)

    def _last(self) -> int:
        return self._entries[-1].last if self._entries else self._base

    def _received_by(self, chunk: int) -> int:
        """How far the producer had read its conversation at that chunk, also when it is sent again.

        0: as at the attempts before.
        """
        index = bisect_right(self.received, (chunk, inf))
        return self.received[index - 1][1] if index else 0

    def _gather(self) -> None:
        """Make an entry of the chunks that wait."""
        pending, chars = self.pending, 0
        texts: list[str] = []
        while pending and len(texts) < FLUSH_CHUNKS and chars < FLUSH_CHARS:
            text = pending.popleft()
            chars += len(text)
            texts.append(text)
        if not texts:
            return
        self.taken += chars
        data = utf8("\n".join(texts))
        self.size += len(data) - len(texts) + 1
        first = self._last() + 1
        self._entries.append(Entry(first, first + len(texts) - 1, data))
        if self.blocked and self.has_room():
            self._on_room()

    def _accepted(self, request: Request, answer: Answer) -> None:
        if isinstance(request, Claim):
            self._lost = False
            # What has lost the stream has lost its place in the list too.
            self._relist = bool(self._claim.on_end)
            self._rewind(answer.continues + 1)
        elif isinstance(request, Enlist):
            self._relist = False
        elif isinstance(request, Release):
            self._ended = answer.end_reason
            self.done = True
        elif isinstance(request, Checkpoint):
            self._kept = request
        elif isinstance(request, Append):
            if request.count:
                self._next += 1
            if request.end:
                self.done = True
                if not self._base and can_be_sealed(request.end):
                    self.whole = self._entries
        # A renewal that finds less than was acknowledged: Redis has lost its tail.
        elif answer.last_seq < (self._entries[self._next - 1].last if self._next else self._base):
            self._rewind(answer.last_seq + 1)

    def _rewind(self, expected: int) -> None:
        """Go on from chunk number `expected`."""
        if expected <= self._base:
            self._fail(
                StreamError(f"stream {self.stream_id!r}: the chunks of earlier attempts are lost")
            )
            return
        # Whatever lost chunks may have lost it too.
        self._kept = None
        index = len(self._entries)
        while index and self._entries[index - 1].last >= expected:
            index -= 1
        self._next = index

    def _fail(self, error: StreamError) -> None:
        self.problem = error
        self.done = True
