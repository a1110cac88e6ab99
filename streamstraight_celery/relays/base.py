"""The contract of a relay: what keeps and hands out streams.

A relay carries out requests (`Create`, `Claim`, `Append`, ...), each atomically, and answers each
with an `Answer`. `lua/README.md` describes the log; the head of each script is the contract of its
request. Workers and web routes use the synchronous `Relay`, the relay server the `AsyncRelay`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..errors import RelayUnavailableError, StreamNotFoundError
from ..offsets import Offset, Segment

EndReason = Literal[
    "completed",
    "producer-error",
    "producer-disconnected",
    "inactivity-timeout",
    "stopped",
    "too-large",
    "expired",
]
Kind = Literal[
    "ok", "duplicate", "gap", "fenced", "closed", "unknown", "busy", "too-large", "exists",
    "asked", "ended", "alive", "error",
]  # fmt: skip


class Answer(NamedTuple):
    """What a request came to. The scripts' heads say what `number` and `reason` mean for each."""

    kind: Kind
    number: int = 0
    stop: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayOptions:
    """What every request of one relay has in common. Times are milliseconds, sizes bytes."""

    key_prefix: str = "ss:"
    ttl: int = 3_600_000
    lease: int = 10_000
    reap_after: int = 30_000
    max_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Create:
    stream_id: str
    owner: str
    kind: str = "json"


@dataclass(frozen=True, slots=True)
class Claim:
    stream_id: str
    nonce: str
    owner: str = ""
    kind: str = "json"
    attempt: int = 0
    resume: bool = False


@dataclass(frozen=True, slots=True)
class Append:
    """Chunks `first` .. `first + count - 1` as JSON texts joined by line breaks."""

    stream_id: str
    attempt: int
    nonce: str
    first: int
    count: int
    data: bytes
    end: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Renew:
    stream_id: str
    attempt: int
    nonce: str


@dataclass(frozen=True, slots=True)
class Release:
    stream_id: str
    attempt: int
    nonce: str
    wait: int


@dataclass(frozen=True, slots=True)
class Stop:
    stream_id: str


@dataclass(frozen=True, slots=True)
class Reap:
    stream_id: str


Request = Create | Claim | Append | Renew | Release | Stop | Reap


@dataclass(frozen=True, slots=True)
class Read:
    """At most `limit` entries after chunk `seq` of `attempt`, and the state; 0: the state alone."""

    stream_id: str
    attempt: int = 0
    seq: int = 0
    limit: int = 0


class Entry(NamedTuple):
    """One flush of a writer: chunks `first` .. `last`, JSON texts joined by line breaks."""

    first: int
    last: int
    data: bytes

    def after(self, seq: int) -> Entry:
        """The part of this entry behind chunk `seq`."""
        if seq < self.first:
            return self
        lines = self.data.split(b"\n")[seq - self.first + 1 :]
        return Entry(seq + 1, self.last, b"\n".join(lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """A stream at one moment of the relay's clock. Times are milliseconds of that clock."""

    attempt: int
    nonce: str
    last: int
    lineage: tuple[Segment, ...]
    end: str
    error: str
    stop_asked: bool
    released: bool
    owner: str
    kind: str
    size: int
    lease_left: int
    now: int
    created: int
    first_chunk: int
    ended: int

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The attempts whose chunks make up the log, the current one last."""
        return (*self.lineage, Segment(self.attempt, self.nonce, self.last))

    def offset(self, seq: int | None = None) -> Offset:
        """The offset after chunk `seq` of the current attempt (default: its end so far)."""
        return Offset(self.attempt, self.last if seq is None else seq, self.nonce or "00000000")


@dataclass(frozen=True, slots=True)
class Page:
    state: StreamState
    entries: tuple[Entry, ...]


class Notice(NamedTuple):
    """A change of a stream, as published: a hint that carries data. `data` may be empty."""

    attempt: int
    nonce: str
    first: int
    last: int
    end: str
    data: bytes


class Relay(ABC):
    """Carries out requests for workers and web routes. Thread-safe."""

    @abstractmethod
    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        """Carry out all requests in one round trip; each is atomic, failures are `error` answers.

        Raises:
            RelayUnavailableError: the relay was not reached or did not answer. Any of the requests
                may have been carried out; all may be repeated.
        """

    @abstractmethod
    def read(self, read: Read) -> Page | None:
        """Return the state and a page of the log, None when there is no such stream.

        Raises:
            RelayUnavailableError: the relay was not reached or did not answer.
        """

    def close(self) -> None:
        """Give up connections. The relay may be used again, which reconnects."""
        return

    def call(self, request: Request) -> Answer:
        """Carry out one request.

        Raises:
            RelayUnavailableError: as `execute`, and when the relay refused it.
        """
        answer = self.execute([request])[0]
        if answer.kind == "error":
            raise RelayUnavailableError(
                f"the relay refused {type(request).__name__}: {answer.reason}"
            )
        return answer

    def state(self, stream_id: str) -> StreamState:
        """Return the stream's state.

        Raises:
            StreamNotFoundError: there is no such stream, or it has expired.
        """
        page = self.read(Read(stream_id))
        if page is None:
            raise StreamNotFoundError(f"no stream {stream_id!r}: it never was, or it has expired")
        return page.state


class Watcher(ABC):
    """Delivers notices of the streams subscribed to, over one connection for all of them."""

    @abstractmethod
    async def subscribe(self, stream_id: str) -> None:
        """Return once notices of this stream will be delivered (or will be after a reconnect)."""

    @abstractmethod
    def unsubscribe(self, stream_id: str) -> None:
        """Deliver no more of them."""

    @abstractmethod
    async def close(self) -> None:
        """Give up the connection."""


OnNotice = Callable[[str, Notice], None]
OnGap = Callable[[], None]


class AsyncRelay(ABC):
    """Carries out requests for the relay server, on its event loop."""

    @abstractmethod
    async def execute(self, requests: Sequence[Request]) -> list[Answer]:
        """As `Relay.execute`."""

    @abstractmethod
    async def read(self, reads: Sequence[Read]) -> list[Page | None]:
        """As `Relay.read`, for several streams in one round trip."""

    @abstractmethod
    def watch(self, on_notice: OnNotice, on_gap: OnGap) -> Watcher:
        """Return a watcher. It calls `on_gap` whenever notices may have been missed (reconnect)."""

    @abstractmethod
    async def ping(self) -> None:
        """Return when the relay answers.

        Raises:
            RelayUnavailableError: it does not.
        """

    async def close(self) -> None:
        """Give up connections."""
        return
