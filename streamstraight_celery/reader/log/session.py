"""Reading from the relay's log itself, without I/O: says what to read next, and takes in pages.

The log alone decides; notices only say when to look. What the consumer was given is never taken
back: when Redis loses its newest writes, the reader waits for the producer to send them again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...backoff import Backoff
from ...errors import RelayUnavailableError, StreamNotFoundError
from ...ids import is_conversation
from ...offsets import NOW, START, Offset, Verdict, from_end, judge, offset_at
from ...relays.base import Page, StreamState
from ...relays.requests import Answer, Entry, Read, Reap
from ..content import BYTES, JSON, Content
from ..events import Arrival, End, Failure, Pause, Reset, ended
from ..http.answers import parse_json, words
from ..inbox import Inbox
from ..options import ReadOptions
from ..place import Place, checksum, is_same
from ..timing import BACKOFF_BASE, BACKOFF_CAP, Patience

logger = logging.getLogger(__name__)

PAGE = 256  # entries
GONE = Failure("gone", "the chunks behind this offset are lost", 410)


@dataclass(frozen=True, slots=True)
class Await:
    """Wait for a notice, but not longer than so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class AskReap:
    """The producer is lost, it seems; the relay decides, and notes when it was first asked."""


Action = Read | Await | Pause | AskReap


class LogSession:
    """The steps of reading one stream's log.

    Args:
        stream_id: the stream.
        inbox: where chunks and the end go.
        options: the consumer's.
        patience: seconds to wait for a producer to send again what Redis lost.
        look_every: seconds after which to look without a notice.
    """

    def __init__(
        self,
        stream_id: str,
        inbox: Inbox[Any],
        options: ReadOptions,
        *,
        patience: float,
        look_every: float,
    ) -> None:
        self._stream_id = stream_id
        self._inbox = inbox
        self._options = options
        self._timing = options.timing
        self._look_every = look_every
        self._lost = Patience(patience)
        self._patience = Patience(options.give_up_after)
        self._backoff = Backoff(BACKOFF_BASE, BACKOFF_CAP, options.timing.random)
        # None: at the start, or, with `_from_end`, so many chunks before the end as it is then.
        self._place, self._skip, self._proof = parse_position(options.position)
        self._sum = 0  # the checksum of the chunks that were left out
        self._from_end = 0 if options.offset == NOW else from_end(options.position)
        self._wait_until: float | None = None
        self._content: Content | None = None
        self._known = False  # there was such a stream
        self._waits = False  # all of the log that there is was read
        self._overdue = False
        self._delay = 0.0

    @property
    def reap(self) -> Reap:
        """The request for `AskReap`."""
        return Reap(self._stream_id)

    def next(self) -> Action:
        """What to do now."""
        if self._delay:
            delay, self._delay = self._delay, 0.0
            return Pause(self._timing.pause(delay))
        if self._overdue:
            return AskReap()
        if self._waits:
            self._waits = False
            return Await(self._look_every)
        if self._from_end is not None:
            return Read(self._stream_id)
        if self._place is None or not self._place.seq:
            return Read(self._stream_id, 0, 0, PAGE)
        return Read(self._stream_id, self._place.attempt, self._place.seq, PAGE)

    def absorb(self, page: Page | None) -> None:
        """What was read."""
        self._patience.heard()
        self._backoff.reset()
        self._waits = True
        if page is None or page.state.deleted:
            self._missing(deleted=page is not None)
            return
        self._inbox.set_status("open")
        self._known, state = True, page.state
        self._overdue = not state.end and state.lease_left < 0
        if self._from_end is not None:
            seq, back, self._from_end = max(0, state.last - self._from_end), self._from_end, None
            if seq or not back:
                self._stand_at(state, seq)
            if back:
                self._waits = False
                return
        verdict = Verdict.VALID
        if self._place is not None and self._place.seq:
            verdict = judge(self._place, state.segments, bool(state.end))
        if verdict is Verdict.SUPERSEDED:
            self._restart(state.attempt)
        elif verdict is Verdict.GONE:
            self._inbox.end(End(failure=GONE))
        else:
            self._go_on(state, page.entries)

    def reaped(self, answer: Answer) -> None:
        """The answer to a request to end the stream."""
        self._overdue = False
        self._waits = answer.kind not in ("ended", "closed")

    def unavailable(self, error: RelayUnavailableError) -> None:
        """The relay does not answer."""
        self._delay = self._backoff.next()
        self._inbox.set_status("reconnecting")
        about = {"stream_id": self._stream_id}
        logger.info(
            "stream %s: %s; trying again in %.1f s", self._stream_id, error, self._delay,
            extra=about,
        )  # fmt: skip
        if self._patience.over(self._timing.now(), self._delay):
            self._inbox.fail(error)
        elif self._options.on_retry is not None:
            self._options.on_retry(error)

    def _missing(self, deleted: bool) -> None:
        if self._known and deleted:
            self._inbox.end(End(failure=GONE))
            return
        if self._known:
            self._wait_for_lost()
            return
        if self._may_still_come() or is_conversation(self._stream_id):
            return  # nothing has happened in it yet
        self._inbox.fail(
            StreamNotFoundError(
                f"no stream {self._stream_id!r}: it does not exist, has expired or was deleted"
            )
        )

    def _may_still_come(self) -> bool:
        """Whether to wait on for a stream that was never there."""
        now = self._timing.now()
        if self._wait_until is None:
            self._wait_until = now + (self._options.wait or 0.0)
        return now < self._wait_until

    def _go_on(self, state: StreamState, entries: Sequence[Entry]) -> None:
        place, seq = self._place, self._place.seq if self._place else 0
        if place is not None and seq and (place.attempt > state.attempt or seq > state.last):
            self._wait_for_lost()  # chunks that were read are no longer there
            return
        for entry in entries:
            if entry.first > seq + 1:
                break
            if entry.last > seq:
                if not self._put(state, entry.after(seq)):
                    return
                seq = entry.last
        if seq < state.last and seq == (place.seq if place else 0):
            # The log does not hold what the state promises.
            self._inbox.end(End(failure=GONE)) if state.end else self._wait_for_lost()
            return
        self._lost.heard()
        self._waits = seq >= state.last
        if self._waits and state.end and self._skip:
            self._restart(state.attempt)  # less than was read before: another attempt
        elif self._waits and state.end:
            if self._content is not None and (rest := self._content.rest()):
                self._inbox.put(Arrival(rest, json.dumps(rest), self._inbox.tail))
            self._inbox.end(_end_of(state))

    def _put(self, state: StreamState, entry: Entry) -> bool:
        segments = state.segments
        self._content = self._content or content_of(state)
        for seq, raw in enumerate(entry.data.decode().split("\n"), start=entry.first):
            self._place = offset_at(segments, seq)
            try:
                chunk, text = self._content.chunk(parse_json(raw), raw)
            except ValueError as error:
                failure = Failure("bad-frame", f"chunk {seq} is not JSON: {error}", cause=error)
                self._inbox.end(End(failure=failure))
                return False
            if self._skip:
                self._skip -= 1
                self._sum = checksum(raw, self._sum)
                if not self._skip and not is_same(self._proof, self._sum, ""):
                    self._restart(0)
                    return False
                continue
            if chunk or text:
                self._inbox.put(Arrival(chunk, text, str(self._place)))
            self._inbox.tail = str(self._place)
        return True

    def _stand_at(self, state: StreamState, seq: int) -> None:
        self._place = offset_at(state.segments, seq)
        self._inbox.tail = str(self._place)

    def _restart(self, attempt: int) -> None:
        self._place, self._skip, self._sum, self._proof = None, 0, 0, ""
        self._content = None
        self._waits = False
        self._inbox.reset(Reset(attempt))

    def _wait_for_lost(self) -> None:
        if self._lost.over(self._timing.now()):
            about = {"stream_id": self._stream_id}
            logger.warning("stream %s was lost and not re-sent", self._stream_id, extra=about)
            self._inbox.end(End(failure=GONE))


def parse_position(position: str) -> tuple[Offset | None, int, str]:
    """An offset, or what a reader over HTTP calls one: how many chunks to leave out, the proof.

    Raises:
        MalformedOffsetError: it is neither.
    """
    text, skip, proof = Place.parse(position)
    if from_end(text) is not None and not skip:
        return None, 0, ""
    if text in (START, NOW):
        if not skip or (text == START and proof[:1] in ("", "=")):
            return None, skip, proof
        # Of an earlier version: in the attempt of the offset at the end of the first frame.
        end = Offset.parse(proof)
        return Offset(end.attempt, skip, end.nonce), 0, ""
    return Offset.parse(text), skip, proof if proof.startswith("=") else ""


def content_of(state: StreamState) -> Content:
    """What the stream's chunks are."""
    return Content((state.content_type or BYTES) if state.kind == "bytes" else JSON)


def _end_of(state: StreamState) -> End:
    try:
        error = parse_json(state.error) if state.error else None
    except ValueError:
        error = None
    return ended(state.end, *words(error))
