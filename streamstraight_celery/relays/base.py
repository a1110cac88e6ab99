"""The contract of a relay: what keeps and hands out streams.

A relay carries out requests (`Create`, `Claim`, `Append`, ...), each atomically, and answers each
with an `Answer` (`requests.py`). `lua/README.md` describes the log. Workers and web routes use the
synchronous `Relay`, the relay server the `AsyncRelay`.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from ..errors import ConfigurationError, RelayUnavailableError, StreamNotFoundError
from ..offsets import NO_NONCE, Offset, Segment
from .conversations import CONVERSATION_TTL
from .index import Found, Query, Scan, Steps, find, search, tidy
from .requests import WATCH_TTL, Answer, Entry, Read, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayOptions:
    """What every request of one relay has in common. Times are milliseconds, sizes bytes."""

    key_prefix: str = "ss:"
    ttl: int = 3_600_000
    lease: int = 10_000
    reap_after: int = 30_000
    max_bytes: int = 64 * 1024 * 1024
    conversation_ttl: int = CONVERSATION_TTL
    conversation_bytes: int = 16 * 1024 * 1024
    watch_ttl: int = WATCH_TTL

    @property
    def kept_conversation(self) -> int:
        """How long after its last event; never shorter than the streams in it."""
        return max(self.ttl, self.conversation_ttl)

    @property
    def listed_ttl(self) -> int:
        """How long a stream stays listed that nobody sweeps."""
        return max(self.ttl, CONVERSATION_TTL)

    @property
    def reap_notice(self) -> int:
        """How long a producer has to renew its lease after its expiry was first noticed."""
        return min(self.lease, self.reap_after)


StreamStatus = Literal["queued", "streaming", "stalled", "retrying", "waiting", "open", "ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """A stream at one moment, as `handle.state()` gives it.

    Times are whole milliseconds of the store's clock (Redis: since 1970); 0: not yet. Sizes are
    bytes.

    Attributes:
        attempt: number of the current attempt, from 1; 0 before a worker has begun.
        nonce: random mark of that attempt.
        last: how many chunks there are, of the current attempt and those that it continues.
        lineage: the attempts that the current one continues.
        end: the end reason (`completed`, `stopped`, `producer-error`, ...); `""` while it is open.
        error: what readers are told of a bad end, JSON `{"code", "message"}`; else `""`.
        stop_asked: a stop was asked for.
        released: its producer has given it up for a retry or another delivery of its task.
        owner: the id of its task.
        kind: of its chunks: `json`, `text` or `bytes`.
        size: of its chunks.
        lease_left: how long its producer still holds it; negative: it is overdue. Before it has
            begun: how long a producer is awaited.
        now: when this was read.
        created: when it was announced.
        first_chunk: when its first chunk was stored.
        ended: when it ended.
        content_type: of a stream written over HTTP; else `""`.
        http_written: it is written over HTTP, by clients with the right to, and not by a task.
        ttl: how long it is kept after its end, if its task or its HTTP request asked for that.
        expires_at: until when, if its HTTP request asked for that; since 1970.
        deleted: it was deleted; its name is kept for its forks, or against a late run of its task.
        conversation: the name of the one it belongs to; `""` for none.
        on_end: name of the task that is told of its end, and its queue if it has one of its own;
            else `""`.
        end_told: the task of `on_end` was enqueued after the end.
        task: the name of its task; `""` without one.
        labels: what it was labelled with.
        received: how far its producer has read its conversation.
        worker: name of the worker that runs, or ran, the current attempt; `""` for none.
        queue: from which that worker took the task.
        sealed: it has ended, and its chunks are stored deflated.
        suspended: its task waits for an input, without a worker; `lease_left` is the time left.
    """

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
    content_type: str = ""
    http_written: bool = False
    ttl: int | None = None
    expires_at: int | None = None
    deleted: bool = False
    conversation: str = ""
    on_end: str = ""
    end_told: bool = False
    task: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    received: int = 0
    worker: str = ""
    queue: str = ""
    sealed: bool = False
    suspended: bool = False

    @property
    def status(self) -> StreamStatus:
        """What the stream is doing.

        `queued`: no worker has begun. `streaming`: its producer is alive. `stalled`: its producer
        has not been heard of for longer than its lease. `retrying`: the next attempt is awaited.
        `waiting`: it is suspended. `open`: it is written over HTTP. `ended`: `end` says why.
        """
        if self.end:
            return "ended"
        if self.http_written:
            return "open"
        if not self.attempt:
            return "queued"
        if self.suspended:
            return "waiting"
        if self.released:
            return "retrying"
        return "streaming" if self.lease_left > 0 else "stalled"

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The attempts whose chunks make up the log, the current one last."""
        return (*self.lineage, Segment(self.attempt, self.nonce, self.last))

    def offset(self, seq: int | None = None) -> Offset:
        """The offset after chunk `seq` of the current attempt (default: its end so far)."""
        return Offset(self.attempt, self.last if seq is None else seq, self.nonce or NO_NONCE)


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


class Access(NamedTuple):
    """What a client needs to read a stream: where, a token, and when that expires (epoch, s)."""

    url: str
    token: str
    expires_at: int


def checked(answers: list[Answer]) -> list[Answer]:
    """The answers.

    Raises:
        RelayUnavailableError: the store refused one of the requests.
    """
    for answer in answers:
        if answer.kind == "error":
            raise RelayUnavailableError(f"the stream store's index: {answer.message}")
    return answers


class Relay(ABC):
    """Carries out requests for workers and web routes. Thread-safe.

    Attributes:
        quick: a request takes one short round trip, so that a producer may make it itself.
        shares: requests of several streams share a round trip, so that it pays to wait for more.
    """

    quick = False
    shares = True

    @abstractmethod
    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        """Carry out all requests in one round trip; each is atomic, failures are `error` answers.

        Raises:
            RelayUnavailableError: the relay was not reached or did not answer. Any of the requests
                may have been carried out; `repeatable` ones may be repeated.
        """

    @abstractmethod
    def read(self, read: Read) -> Page | None:
        """Return the state and a page of the log, None if the stream does not exist.

        Raises:
            RelayUnavailableError: the relay was not reached or did not answer.
        """

    def read_all(self, reads: Sequence[Read]) -> list[Page | None]:
        """As `read`, of many streams."""
        return [self.read(read) for read in reads]

    @property
    def places(self) -> Sequence[str]:
        """Where its index is.

        Raises:
            ConfigurationError: this relay cannot list its streams.
        """
        raise ConfigurationError("this kind of relay cannot list its streams")

    def scan(self, cursor: str) -> tuple[Sequence[str], str]:
        """Some of the streams that are kept, by looking at keys, and where to look next.

        Args:
            cursor: `"0"` to begin. It is the second value again at the end.
        """
        return (), "0"

    def find(self, query: Query) -> Found:
        """The streams of a query, newest first.

        Raises:
            ConfigurationError: this relay cannot list its streams.
            RelayUnavailableError: the relay was not reached or did not answer.
        """
        complete = self._drive(search(self.places)).complete
        return self._drive(find(query, self.places))._replace(complete=complete)

    def tidy(self, terms: Iterable[str]) -> None:
        """Drop some of the index's entries that are stale; errors as `find`."""
        self._drive(tidy(terms, self.places, random.randrange))

    def _drive(self, steps: Steps) -> Found:
        try:
            ask = next(steps)
            while True:
                answer: Any
                if isinstance(ask, Scan):
                    answer = self.scan(ask.cursor)
                elif isinstance(ask[0], Read):
                    answer = self.read_all([each for each in ask if isinstance(each, Read)])
                else:
                    answer = checked(
                        self.execute([each for each in ask if not isinstance(each, Read)])
                    )
                ask = steps.send(answer)
        except StopIteration as done:
            found: Found = done.value
            return found

    def access(self, stream_id: str, scopes: Iterable[str], ttl: float | None) -> Access | None:
        """What clients need, from a relay that issues its own tokens; None: ours are to be used.

        Raises:
            StreamError: the relay gives none.
        """
        return None

    def forget(self, stream_id: str, nonce: str) -> None:
        """Drop all data kept for an attempt: no more requests will be made for it."""
        return

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
                f"the stream store refused {type(request).__name__}: {answer.message}"
            )
        return answer

    def state(self, stream_id: str) -> StreamState:
        """Return the stream's state.

        Raises:
            StreamNotFoundError: the stream does not exist or has expired.
        """
        page = self.read(Read(stream_id))
        if page is None:
            raise StreamNotFoundError(f"no stream {stream_id!r}: it does not exist or has expired")
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

    async def read_each(
        self, reads: Sequence[Read]
    ) -> Sequence[Page | RelayUnavailableError | None]:
        """As `read`; of several servers, one that is away fails its own streams only."""
        return await self.read(reads)

    @property
    def places(self) -> Sequence[str]:
        """As `Relay.places`."""
        raise ConfigurationError("this kind of relay cannot list its streams")

    async def scan(self, cursor: str) -> tuple[Sequence[str], str]:
        """As `Relay.scan`."""
        return (), "0"

    async def find(self, query: Query, *, look: bool = True) -> Found:
        """As `Relay.find`; without `look` not for streams that the index does not know."""
        complete = not look or (await self._drive(search(self.places))).complete
        return (await self._drive(find(query, self.places)))._replace(complete=complete)

    async def _drive(self, steps: Steps) -> Found:
        try:
            ask = next(steps)
            while True:
                answer: Any
                if isinstance(ask, Scan):
                    answer = await self.scan(ask.cursor)
                elif isinstance(ask[0], Read):
                    answer = await self.read([each for each in ask if isinstance(each, Read)])
                else:
                    answer = checked(
                        await self.execute([each for each in ask if not isinstance(each, Read)])
                    )
                ask = steps.send(answer)
        except StopIteration as done:
            found: Found = done.value
            return found

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
