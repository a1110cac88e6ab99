"""The producer's side of a stream: write chunks, end it, or hand it over to the next attempt."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..codecs import utf8
from ..errors import ChunkTooLargeError, RelayUnavailableError, StreamClosedError
from ..os_threads import os_lock
from ..relays.end_reasons import EndReason
from ..relays.requests import Answer, Append, Checkpoint, Claim, Release
from ..settings import StreamSettings
from .outbox import FLUSH_CHUNKS, Outbox

# What a process that goes down waits for the store to take note of its last words; seconds.
LAST_WORDS_TIMEOUT = 2.0


class StreamWriter:
    """One attempt's writer, made by `Sender.open`.

    `add`, `end_early` and what only asks are safe in every thread; the other methods belong to one
    producer thread. The sender thread works on the `outbox`, and calls back only when the attempt
    is done, a stop is asked or a blocked producer has room again.

    Attributes:
        outbox: what the sender sends.
        stream_id: the stream.
        attempt: number of this attempt, from 1.
        nonce: random mark of this attempt.
        continues: chunks of earlier attempts that this one continues.
        chunks: chunks written so far.
        received: seq of the last event that was received from the conversation; kept with the
            next chunk or checkpoint.
        first_chunk_at: when the first chunk was written, in seconds of the sender's clock.
        on_first_chunk: called, where the generator runs, once the first chunk is on its way.
    """

    def __init__(
        self,
        claim: Claim,
        answer: Answer,
        settings: StreamSettings,
        *,
        signal: Callable[[Outbox], None],
        send_alone: Callable[[Outbox, Callable[[str], Append | None], str], bool],
        forget: Callable[[Outbox], None],
        on_interrupt: Callable[[], None] | None,
        now: Callable[[], float],
    ) -> None:
        self.stream_id = claim.stream_id
        self.attempt = answer.attempt
        self.nonce = claim.nonce
        self.continues = answer.continues
        self.chunks = 0
        self.received = self._noted = 0
        self.first_chunk_at: float | None = None
        self.on_first_chunk: Callable[[], None] | None = None
        # Between those who add chunks, and the end: no chunk is added after it.
        self._adding = os_lock()
        self._space = threading.Event()
        self._done = threading.Event()
        self.outbox = Outbox(
            claim, answer, settings, now(), on_room=self._space.set, on_change=self._react
        )
        self._settings = settings
        self._limit = settings.max_chunk_bytes
        self._signal = signal
        self._send_alone = send_alone
        self._forget = forget
        self._on_interrupt = on_interrupt
        self._now = now

    @property
    def size(self) -> int:
        """Bytes of encoded chunks taken by the sender so far; all of them after `finish`."""
        return self.outbox.size

    @property
    def stop_asked(self) -> bool:
        """Whether somebody asked for the stream to be stopped."""
        return self.outbox.stop_asked

    @property
    def done(self) -> bool:
        """Whether nothing is to be sent any more."""
        return self.outbox.done

    @property
    def outcome(self) -> str:
        """What became of it: an end reason, `released`, `suspended`, or an error's code."""
        return self.outbox.outcome

    @property
    def ended_elsewhere(self) -> bool:
        """The outcome is an end that somebody else has written: the parent process, a relay."""
        return self.outbox.ended_elsewhere

    def write(self, text: str) -> None:
        """Add a chunk, JSON text on one line. Blocks while the buffer is full.

        Raises:
            ChunkTooLargeError: larger than `stream_max_chunk_bytes`.
            StreamError: the stream cannot be written any more; which one says why.
        """
        self.put(text)
        if self.full():
            self.wait_for_space()

    def put(self, text: str) -> None:
        """As `write`, without waiting for room; for the producer's own thread.

        A chunk that nothing else waits with is sent by this thread, in one round trip.
        """
        outbox = self.outbox
        if outbox.pending or not self._send_alone(outbox, self._take_alone, text):
            self.add(text)
        elif self.on_first_chunk is not None:
            self._tell_of_first_chunk()

    def add(self, text: str) -> None:
        """As `write`, without waiting; `full` tells whether to wait. Safe in every thread."""
        outbox = self.outbox
        with self._adding:
            # The one place where every chunk of a fast stream passes: no call that can be spared.
            if len(text) * 4 > self._limit or outbox.problem or outbox.final:
                self._check_open(text)
            outbox.pending.append(text)
            outbox.written += len(text)
            self.chunks += 1
            if self.first_chunk_at is None:
                self.first_chunk_at = self._now()
            if self.received != self._noted:
                self._noted = self.received
                outbox.received.append((self.continues + self.chunks, self.received))
            if not outbox.signalled or len(outbox.pending) == FLUSH_CHUNKS:
                outbox.signalled = True
                # A full batch ends the sender's wait for others.
                self._signal(outbox)
        if self.on_first_chunk is not None:
            self._tell_of_first_chunk()

    def _take_alone(self, text: str) -> Append | None:
        """As `add`, for the producer's thread: what sends the chunk, if it need not wait."""
        with self._adding:
            self._check_open(text)
            if self.received != self._noted:
                return None
            request = self.outbox.alone(text)
            if request is not None:
                self.chunks += 1
                if self.first_chunk_at is None:
                    self.first_chunk_at = self._now()
            return request

    def _check_open(self, text: str) -> None:
        """Raise what speaks against adding this chunk."""
        limit = self._limit
        if len(text) * 4 > limit and (size := len(utf8(text))) > limit:
            raise ChunkTooLargeError(
                f"a chunk of {size} bytes is larger than stream_max_chunk_bytes ({limit}): "
                "yield smaller chunks or raise the limit"
            )
        if self.outbox.problem is not None:
            raise self.outbox.problem
        if self.outbox.final is not None:
            # `end_early` has not waited for this, or a thread has outlived its task.
            raise StreamClosedError(self.stream_id, self.outcome)

    def _tell_of_first_chunk(self) -> None:
        with self._adding:
            tell, self.on_first_chunk = self.on_first_chunk, None
        if tell is not None:
            tell()

    def checkpoint(self, text: str) -> None:
        """Have a JSON text kept for the next attempt, as soon as the chunks written so far are.

        Raises:
            ChunkTooLargeError: larger than `stream_max_chunk_bytes`.
            StreamError: the stream cannot be written any more.
        """
        self.check()
        if (size := len(utf8(text))) > self._settings.max_chunk_bytes:
            raise ChunkTooLargeError(
                f"a checkpoint of {size} bytes is larger than stream_max_chunk_bytes "
                f"({self._settings.max_chunk_bytes})"
            )
        covers = self.continues + self.chunks
        self.outbox.checkpoint = Checkpoint(
            self.stream_id, self.attempt, self.nonce, text, covers, self.received
        )
        self.outbox.signalled = True
        self._signal(self.outbox)

    def check(self) -> None:
        """Raise the error that made writing impossible, if there is one.

        Raises:
            StreamError: the stream cannot be written any more.
        """
        if self.outbox.problem is not None:
            raise self.outbox.problem

    def full(self) -> bool:
        """Whether the buffer is full."""
        outbox, settings = self.outbox, self._settings
        return (
            len(outbox.pending) >= settings.buffer_chunks
            or outbox.written - outbox.taken >= settings.buffer_bytes
        )

    def wait_for_space(self) -> None:
        """Block until the buffer is half empty.

        Raises:
            StreamError: the stream cannot be written any more.
        """
        outbox = self.outbox
        while not outbox.done and not outbox.has_room():
            self._space.clear()
            # In this order: the sender takes chunks and then looks whether the producer waits.
            outbox.blocked = True
            if not outbox.has_room() and not outbox.done:
                self._signal(outbox)  # a sender that lingers does so no longer
                self._space.wait()
            outbox.blocked = False
        self.check()

    def finish(self, reason: EndReason, error: str = "", *, timeout: float | None = None) -> None:
        """End the stream behind its last chunk; returns when the relay has acknowledged it.

        Args:
            reason: the end reason; an error becomes `stopped` when a stop was asked.
            error: for readers, JSON `{"code", "message"}`.
            timeout: seconds to wait at most.

        Raises:
            StreamError: the end could not be written; what was acknowledged before stands.
        """
        if self.stop_asked and reason == "producer-error":
            # What a stop makes of a generator, such as an error of its clean-up, is no news for
            # readers. `conclude` does the same.
            reason, error = "stopped", ""
        final = Append(self.stream_id, self.attempt, self.nonce, 0, 0, b"", reason, error)
        self._close(final, timeout)

    def end_early(self, reason: EndReason, error: str = "") -> None:
        """End the stream although the producer still runs: from now on it can write nothing.

        Safe in every thread; does not wait. What the producer makes of the stream afterwards,
        by `finish` or `release`, does not count.
        """
        outbox = self.outbox
        with self._adding:
            if outbox.final is None and not outbox.done:
                outbox.final = Append(
                    self.stream_id, self.attempt, self.nonce, 0, 0, b"", reason, error
                )
                self._signal(outbox)

    def release(self, wait: float, *, timeout: float | None = None, suspends: bool = False) -> None:
        """Give the stream up to the next attempt, awaited for `wait` seconds.

        Args:
            wait: seconds.
            timeout: seconds to wait for the acknowledgement at most.
            suspends: that attempt begins with an input, or after `wait`.

        Raises:
            StreamError: the relay did not acknowledge it.
        """
        wait_ms = max(0, round(wait * 1000))
        final = Release(self.stream_id, self.attempt, self.nonce, wait_ms, suspends)
        self._close(final, timeout)

    def _close(self, final: Append | Release, timeout: float | None) -> None:
        self.check()
        with self._adding:
            if self.outbox.final is None:
                self.outbox.final = final
        self.outbox.signalled = True
        self._signal(self.outbox)
        confirmed = self._done.wait(timeout)
        self._forget(self.outbox)
        if not confirmed:
            raise RelayUnavailableError(f"the stream store did not confirm within {timeout} s")
        self.check()

    def _react(self, stop: bool) -> None:
        """The outbox is done or a stop is asked (`stop`); on the sender's thread."""
        outbox = self.outbox
        if outbox.done:
            # Also when it has failed, and so is never finished: it holds all its chunks.
            self._forget(outbox)
            self._done.set()
            self._space.set()
        # Also for a problem: nobody reads what the generator would go on to produce.
        if (stop or outbox.problem is not None) and self._on_interrupt is not None:
            self._on_interrupt()
