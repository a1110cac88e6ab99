"""What a relay process knows of one stream. No I/O and no clock: pages, notices and times come in.

Notices are hints that carry data. Whatever they leave open (a gap, an end, a new attempt) is read
from the log, which alone decides. What readers were given is never taken back: when Redis loses
its newest writes, the feed waits for the producer to re-send them and continues after them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from ...offsets import Offset, Segment, Verdict, judge, offset_at, segment_of
from ...relays.base import Notice, Page, StreamState
from ...relays.requests import Entry, Read
from ..content import JSON_CONTENT, content_of
from ..counters import Tally
from ..fast_path import http_chunk
from .position import Asked, Position, locate
from .reader import FrameWriter, Reader
from .window import Window

logger = logging.getLogger(__name__)

# What a reader is told of its producer, while there are no chunks to tell it.
QUEUED = "queued"
RUNNING = "running"
STALLED = "stalled"
WAITING = "waiting"
DELETED = "deleted"  # instead of an end reason, when a stream was deleted
FIRST_LIMIT = 256
MAX_LIMIT = 16384
PAGE_BYTES = 1024 * 1024


class Feed:
    """One watched stream.

    Args:
        stream_id: its id.
        now: the time, seconds.
        window_bytes: how much of the log's end to keep.
        lease: seconds for which a producer that wrote something counts as alive.
        patience: seconds to wait for a producer to send again what Redis lost.
        soon: calls a function a little later (`loop.call_soon`), so that whatever came in together
            goes out together.
        tally: what is delivered is counted there.
    """

    def __init__(
        self,
        stream_id: str,
        now: float,
        *,
        window_bytes: int,
        lease: float,
        patience: float,
        soon: Callable[[Callable[[], None]], object],
        tally: Tally | None = None,
    ) -> None:
        self.stream_id = stream_id
        self._soon = soon
        self.tally = tally or Tally()
        self._waking = False
        self.window = Window()
        self.attempt = -1
        self.nonce = ""
        self.kind = ""
        self.lineage: tuple[Segment, ...] = ()
        self.tail = 0  # the last chunk known to exist, perhaps not here yet
        self.content = JSON_CONTENT
        self.http_written = False
        self.end = ""
        self.error = ""
        self.gone = False
        self.deleted = False
        self.released = self.suspended = False
        self.stalled = False
        self.starving = False  # a reader could not read what lies before the window
        self.lost_since: float | None = None
        self.lease_until = now + lease
        self.news_at = now
        self.idle_since = now
        self.readers: set[Reader] = set()
        self.waiting: set[Reader] = set()
        self.opening: asyncio.Future[None] | None = None
        self.reading = False
        self.stale = False
        self._window_bytes = window_bytes
        self._lease = lease
        self._patience = patience
        self._limit = FIRST_LIMIT

    @property
    def last(self) -> int:
        """Seq of the last chunk that is here."""
        return self.window.last

    @property
    def segments(self) -> tuple[Segment, ...]:
        return (*self.lineage, Segment(self.attempt, self.nonce, self.tail))

    @property
    def reach(self) -> tuple[int, int]:
        """Attempt and seq of the last chunk that is here."""
        return self.attempt, self.last

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self.gone or bool(self.end)

    @property
    def status(self) -> str:
        """What readers are told of the producer: `queued`, `running`, `stalled` or `waiting`.

        A stream written over HTTP has no producer to wait for: `running`.
        """
        if self.http_written:
            return RUNNING
        if self.suspended:
            return WAITING
        if not self.attempt or self.released:
            return QUEUED
        return STALLED if self.stalled else RUNNING

    def offset(self, seq: int) -> Offset:
        """The offset after chunk `seq`."""
        return offset_at(self.segments, seq)

    def locate(self, asked: Asked) -> Position | Verdict:
        """Where a new reader begins, or why it may not."""
        if self.gone:
            return Verdict.GONE
        return locate(asked, self.segments, bool(self.end))

    def read_after(self, seq: int) -> Read:
        """The request for a page behind chunk `seq`."""
        attempt = segment_of(self.segments, seq).attempt if seq else 0
        asked = bool(self.readers) or self.opening is not None
        return Read(self.stream_id, attempt, seq, self._limit, touch=asked)

    def take(self, reader: Reader, window: Window, *, chunked: bool = False) -> bytes:
        """The next frames of `window` for `reader`, which is moved behind them.

        They contain the end when the stream has ended and nothing is left. `chunked` wraps them as
        `http_chunk`. Readers at the same position get the same object.
        """
        key = (reader.seq, reader.frames, reader.cursor, self.end, chunked)
        found = window.encoded.get(key)
        if found is None:
            found = window.encode(reader.seq, self._encoder(reader))
            if chunked:
                found = http_chunk(found[0]), found[1]
            window.remember(key, found)
        data, last = found
        self.tally.delivered(reader.counts_as, last - reader.seq, len(data))
        reader.seq = last
        return data

    def ended_at(self, seq: int) -> bool:
        """The stream has ended, and there is nothing behind chunk `seq`."""
        return bool(self.end) and seq >= self.last

    def end_frame(self, frames: FrameWriter) -> bytes:
        """The end, for a reader that has everything else."""
        return frames.end(str(self.offset(self.last)), self.end, self.error)

    def _encoder(self, reader: Reader) -> Callable[[Entry], bytes]:
        frames, cursor = reader.frames, reader.cursor
        assert frames is not None

        def encode(entry: Entry) -> bytes:
            if entry.first == 1 < entry.last and frames.content.kind != "bytes":
                # The first chunk comes alone: offsets before it hold for every attempt, so only
                # from its own on a position between two chunks names the attempt.
                first, _, _ = entry.data.partition(b"\n")
                return encode(Entry(1, 1, first)) + encode(entry.after(1))
            offset = str(self.offset(entry.last))
            data = frames.data(entry, offset, self)
            if self.ended_at(entry.last):
                return data + frames.end(offset, self.end, self.error)
            return data + frames.control(offset, entry.last >= self.tail, cursor)

        return encode

    def wake(self) -> None:
        """Tell every reader that waits that there is news."""
        if not self._waking:
            self._waking = True
            self._soon(self._wake_now)

    def _wake_now(self) -> None:
        self._waking = False
        for reader in list(self.waiting):
            try:
                pushed = reader.push()
            except Exception:  # its own task will fail the same way; the others continue
                logger.exception("stream %s: a reader failed", self.stream_id, extra=self._about())
                pushed = False
            if not pushed:
                reader.wake()

    def hear(self, notice: Notice, now: float) -> bool:
        """Take in a notice; True when the log must be read."""
        if notice.end == DELETED:
            self._end_deleted()
            return False
        if self.over:
            # Overwritten: new readers must get the new stream.
            self.deleted = self.deleted or notice.attempt > self.attempt
            return False
        if notice.attempt != self.attempt or notice.nonce != self.nonce:
            return True
        if notice.last > self.last:
            if not self._append(Entry(notice.first, notice.last, notice.data)):
                return True
            self.tail = max(self.tail, self.last)
            self.news_at = now
            self.lease_until = max(self.lease_until, now + self._lease)
            self.stalled = False
            self.lost_since = None
            self.wake()
        return bool(notice.end)

    def absorb(self, asked: Read, page: Page | None, now: float) -> bool:
        """Take in what was read from the log; True when there is more to read."""
        self.news_at = now
        if self.over:
            state = None if page is None else page.state
            if not self.gone and (state is None or state.deleted or state.nonce != self.nonce):
                self.deleted = True  # or expired: new readers must get a fresh feed
            return False
        if page is None:
            self._lose(now)
            return False
        state = page.state
        self.content = content_of(state.kind, state.content_type)
        self.http_written = state.http_written
        if state.deleted:
            self._end_deleted()
            return False
        if self._is_behind(asked, state):
            self._end_gone() if state.end else self._lose(now)
            return False
        status, self.released, self.suspended = self.status, state.released, state.suspended
        reset, elsewhere = self._adopt_attempt(state, asked)
        news = reset or self.lost_since is not None
        if not elsewhere and self.window.extend(page.entries):
            self.window.trim(self._window_bytes)
            self._limit = page_limit(page.entries, self._limit)
            news = True
        self.tail = max(self.last, state.last)
        self.lease_until = now + state.lease_left / 1000
        self.stalled = self.stalled and state.lease_left < 0
        news = news or self.status != status
        if self.last < state.last and not elsewhere and not _continues(asked, page):
            # The log does not hold what the state promises.
            self._end_gone() if state.end else self._lose(now)
            return False
        self.lost_since = None
        if state.end and self.last >= state.last:
            self._finish(state)
            news = True
        if news:
            self.wake()
        return self.last < state.last

    def tick(self, now: float) -> None:
        """A second has passed."""
        if self.lost_since is not None and now > self.lost_since + self._patience:
            logger.warning(
                "stream %s was lost and not re-sent", self.stream_id, extra=self._about()
            )
            self._end_gone()
        if self.starving:
            self.starving = False
            self.wake()
        if not self.over and not self.stalled and now > self.lease_until:
            self.stalled = True
            self.wake()
        for reader in list(self.readers):
            reader.tick(now)

    def _append(self, entry: Entry) -> bool:
        added = self.window.append(entry)
        self.window.trim(self._window_bytes)
        return added

    def _is_behind(self, asked: Read, state: StreamState) -> bool:
        """Redis has lost writes that readers have seen."""
        if state.attempt != self.attempt:
            return state.attempt < self.attempt
        return state.nonce == self.nonce and state.last < asked.seq

    def _adopt_attempt(self, state: StreamState, asked: Read) -> tuple[bool, bool]:
        """Adopt the attempt of `state`: whether it is another one, and what was read elsewhere."""
        if (state.attempt, state.nonce) == (self.attempt, self.nonce):
            return False, False
        before, new, last = self.segments, self.attempt < 0, self.last
        self.attempt, self.nonce, self.lineage = state.attempt, state.nonce, state.lineage
        self.tail, self.kind = state.last, state.kind
        for reader in self.readers:
            reader.relocate(before, state.segments, bool(state.end))
        goes_on = judge(offset_at(before, last), state.segments, False) is Verdict.VALID
        if not new and (goes_on or not last):
            return True, False
        # A log that is larger than the window is left where it is, but for what comes from now on.
        fits = state.size <= self._window_bytes
        self.window = Window(0 if fits else state.last)
        return True, asked.seq > 0

    def _lose(self, now: float) -> None:
        if self.http_written:
            self._end_deleted()  # or expired, or lost for good
        elif self.lost_since is None:
            self.lost_since = now
            logger.info(
                "stream %s: Redis has lost chunks; waiting for them", self.stream_id,
                extra=self._about(),
            )  # fmt: skip

    def _about(self) -> dict[str, object]:
        """What a record of the log carries."""
        return {"stream_id": self.stream_id, "attempt": self.attempt}

    def _finish(self, state: StreamState) -> None:
        self.end, self.error = state.end, state.error
        for reader in self.readers:
            if reader.ahead is not None or reader.seq > self.last:
                reader.relocate(self.segments, self.segments, True)

    def _end_deleted(self) -> None:
        self.deleted = True
        self._end_gone()

    def _end_gone(self) -> None:
        self.gone = True
        self.lost_since = None
        for reader in self.readers:
            reader.verdict = Verdict.GONE
        self.wake()


def page_limit(entries: Sequence[Entry], default: int = FIRST_LIMIT) -> int:
    """How many entries like these make a page of about `PAGE_BYTES`."""
    size = sum([len(entry.data) for entry in entries])
    return max(1, min(MAX_LIMIT, PAGE_BYTES * len(entries) // size)) if size else default


def _continues(asked: Read, page: Page) -> bool:
    return bool(page.entries) and page.entries[0].first <= asked.seq + 1
