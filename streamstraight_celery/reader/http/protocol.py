"""The reading side of the wire, without sockets, clocks or timers: answers, frames and drops go in,
chunks and moves come out. The wire is SSE mode of the Durable Streams protocol (its section 5.8)
with `id:` lines, end reasons and attempts on top; a server without those works too. Our relay
frames every stream as JSON arrays of chunks (`frames=json`) and names its content type. Another
server is asked for the content type (HEAD) when its first data frame comes.

| answer             | what the reader does                                 |
|--------------------|------------------------------------------------------|
| 200 event stream   | reads                                                |
| 204                | ends if `Stream-Closed`, else tries again            |
| 401                | asks for a new token, fatal if that is refused too   |
| 410 `superseded`   | a new attempt: reads again from its `startOffset`    |
| 408, 425, 429, 5xx | tries again, no sooner than `Retry-After`            |
| none, or cut       | tries again                                          |
| everything else    | fatal                                                |

`client/src/protocol.ts` does the same; `tests/clients/cases` holds both to it.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any

from ...backoff import Backoff
from ...offsets import START
from ..content import JSON, Content, json_text, media_type_of
from ..events import Arrival, Connect, End, Failure, Move, NewToken, Reset, ended
from ..place import Place, checksum, is_same, proof_of
from ..timing import BACKOFF_BASE, BACKOFF_CAP
from . import answers as wire
from .answers import Answer
from .sse_parser import Frame


class Framing(Enum):
    """What a data frame holds: a JSON array of chunks, bytes in base64, or text."""

    CHUNKS = auto()
    BASE64 = auto()
    TEXT = auto()


class Protocol:
    """One reader's conversation with the relay, over any number of connections.

    Args:
        position: where to begin (`Place`).
        random: in [0, 1): spreads the retries.
    """

    def __init__(self, position: str, random: Callable[[], float]) -> None:
        self._offset, self._skip, self._proof = Place.parse(position)
        # The position where that is not the offset: there are chunks to leave out.
        self._between = position if self._skip else ""
        # The checksum of the chunks behind the position's offset, while it is needed.
        self._sum = 0
        # What `-1` is asked for as: of a new attempt's start no relay gives older chunks.
        self._start = START
        self._grounded = False  # the offset came with chunks, so that it is one of an attempt
        self._cursor = ""
        # Chunks of a server without `id:` lines, until the control frame tells their offset.
        self._held: list[tuple[Any, str]] = []
        self._content: Content | None = None  # None: the server has not told
        self._framing = Framing.CHUNKS
        self._backoff = Backoff(BACKOFF_BASE, BACKOFF_CAP, random)
        self._advanced = False  # this connection brought something new
        self._refused = False  # the last answer was a 401

    @property
    def position(self) -> str:
        """After the last chunk that came out."""
        return self._between or self._offset

    def connect(self) -> dict[str, str]:
        """A connection begins: the query of its request."""
        self._held = []
        self._advanced = False
        cursor = {"cursor": self._cursor} if self._cursor else {}
        offset = self._start if self._offset == START else self._offset
        return {"live": "sse", "offset": offset, **cursor}

    def answered(self, answer: Answer, can_refresh: bool, time: float) -> Move | None:
        """An answer came; None: read its frames.

        Args:
            answer: it.
            can_refresh: there is somebody to ask for a token.
            time: seconds since the epoch.
        """
        status, headers, _ = answer
        again, self._refused = self._refused, status == 401
        if wire.is_stream(answer):
            self._learn(headers)
            return None
        if status == 204 and headers.get("stream-closed") and self._skip:
            return self._restart(0)  # less than was read before: another attempt
        if status == 204 and headers.get("stream-closed"):
            return ended(headers.get("stream-end-reason") or "completed")
        failure, attempt, start = wire.refusal(answer)
        if status == 401 and can_refresh and not again:
            return NewToken()
        if status == 410 and failure.code == "superseded":
            return self._restart(attempt, start)
        if wire.is_passing(status):
            return self._retry(failure, wire.retry_after(headers.get("retry-after"), time))
        return End(failure=failure)

    def needs_type(self, frame: Frame) -> bool:
        """The frame can only be read once HEAD has told the content type: `described`."""
        unknown = self._framing is Framing.CHUNKS and self._content is None
        return unknown and frame.event == "data" and not frame.id

    def frame(self, frame: Frame) -> list[Arrival | Move]:
        """A frame came: nothing, chunks, the end, or chunks and then the end."""
        try:
            if frame.event == "data":
                self._hold(frame.data)
                return self._deliver(frame.id) if frame.id else []
            if frame.event == "control":
                return self._control(wire.parse_control(frame.data))
        except ValueError as error:
            message = f"the relay sent a malformed {frame.event} frame"
            return [End(failure=Failure("bad-frame", message, cause=error))]
        return []

    def described(self, answer: Answer) -> Move | None:
        """The answer to HEAD came; None: go on. A server that answers none has JSON."""
        if wire.is_passing(answer.status):
            return self._retry(wire.refusal(answer)[0])
        found = media_type_of(answer.headers.get("content-type")) if answer.status == 200 else ""
        # A server that answers HEAD as GET tells nothing about the stream.
        self._content = Content(found if found and found != wire.EVENT_STREAM else JSON)
        if self._content.is_text:
            self._framing = Framing.TEXT
        return None

    def dropped(self, lived: float, failure: Failure | None = None) -> Move:
        """The connection is over without an end of the stream, `lived` seconds after its head:
        with a failure, or closed in order, as servers do to recycle connections.
        """
        self._refused = False
        # Whoever stayed longer than the longest backoff makes no tight loop, with or without data.
        healthy = lived >= BACKOFF_CAP
        if healthy:
            self._backoff.reset()
        if failure is None and (healthy or self._advanced):
            return Connect()
        return self._retry(failure or Failure("disconnected", "the relay closed the connection"))

    def token_failed(self, cause: Exception) -> Move:
        """There is no token to be had at the moment."""
        self._refused = False
        return self._retry(Failure("token", "get_token failed", cause=cause))

    def _control(self, control: wire.Control) -> list[Arrival | Move]:
        self._cursor = control.cursor or self._cursor
        # The end may come without an offset: what was held belongs before it all the same.
        found: list[Arrival | Move] = []
        if control.offset or (control.closed and self._held):
            found = self._deliver(control.offset)
        if not control.closed or any(isinstance(item, Reset) for item in found):
            return found
        if self._skip:
            return [self._restart(0)]  # less than was read before: another attempt
        if self._content is not None and (rest := self._content.rest()):
            found.append(Arrival(rest, json.dumps(rest), self.position))
        return [*found, ended(control.reason or "completed", control.code, control.message)]

    def _learn(self, headers: Mapping[str, str]) -> None:
        """What the frames of a response hold."""
        named = media_type_of(headers.get("stream-content-type"))
        self._framing = Framing.CHUNKS
        if named:
            self._content = self._content or Content(named)
        elif headers.get("stream-sse-data-encoding", "").lower() == "base64":
            self._framing = Framing.BASE64
        elif self._content is not None and self._content.is_text:
            self._framing = Framing.TEXT

    def _hold(self, data: str) -> None:
        """Keep what a data frame holds until the offset after it is known."""
        if self._framing is Framing.CHUNKS:
            self._held += wire.parse_chunks(data)
            return
        # Such a stream has no boundaries to keep: what comes before one offset is one chunk.
        piece: Any = data
        if self._framing is Framing.BASE64:
            piece = b64decode("".join(data.split()), validate=True)
        for before, text in self._held:
            piece, data = before + piece, text + data
        self._held = [(piece, data)]

    def _chunk(self, value: Any, text: str) -> tuple[Any, str]:
        """A chunk and its JSON text."""
        if self._framing is not Framing.CHUNKS:
            return value, json_text(value)
        return (value, text) if self._content is None else self._content.chunk(value, text)

    def _deliver(self, offset: str) -> list[Arrival | Move]:
        """The held chunks belong before `offset`: all of them count, or, seen before, none.

        `""`: the server does not say where they end.
        """
        start, skip, chunks = self._offset, self._skip, self._held
        count = len(chunks)
        self._held = []
        # Offsets grow as texts (section 6): a smaller one is of a frame that came before.
        # Without a chunk there is no before: when Redis lost an attempt, an earlier one goes on.
        if self._grounded and offset and offset <= start:
            return []
        if not count:
            self._offset = offset
            return []
        found: list[Arrival | Move] = []
        position = ""
        for taken, (value, text) in enumerate(chunks, start=1):
            if skip or not self._grounded:
                self._sum = checksum(text, self._sum)
            if taken == skip and not is_same(self._proof, self._sum, offset):
                return [self._restart(0)]
            chunk, text = self._chunk(value, text)
            if taken <= skip or not (chunk or text):
                continue
            position = offset
            if taken < count or not offset:
                proof = "" if self._grounded else proof_of(self._sum)
                position = str(Place(start, taken, proof))
            found.append(Arrival(chunk, text, position))
        self._skip = max(skip - count, 0)
        self._offset = offset or start
        if not self._skip:
            self._between = "" if offset else position or self._between
        self._grounded = self._advanced = True
        self._backoff.reset()
        return found

    def _restart(self, attempt: int, start: str = START) -> Reset:
        # Superseded at the very start makes no sense: then only as often as any other failure.
        delay = self._backoff.next() if self._offset == START else 0.0
        self._offset = START
        self._start = start
        self._skip = self._sum = 0
        self._proof = self._between = self._cursor = ""
        self._grounded = False
        if self._content is not None:
            self._content.reset()
        return Reset(attempt, delay)

    def _retry(self, failure: Failure, after: float = 0.0) -> Connect:
        return Connect(after + self._backoff.next(), failure)
