"""What a relay can be asked, and its answers. Each request is atomic.

The head of each script in `lua/` is the contract of its request.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..offsets import Segment
from .about import UNKNOWN, About
from .conversations import CONVERSATION_TTL, ConversationRequest, Hold, Post, Queue, Receive, Turn

__all__ = ["CONVERSATION_TTL", "Hold", "Post", "Queue", "Receive", "Turn"]
# Lists of streams whose end is to be told, each on one node of a cluster.
LISTS = tuple(f"ends-{number:x}" for number in range(16))
Kind = Literal[
    "ok", "duplicate", "gap", "fenced", "closed", "unknown", "busy", "too-large", "exists",
    "asked", "ended", "alive", "error", "epoch", "sequence", "type", "held", "deleted",
    "refused", "waits",
]  # fmt: skip


class Answer(NamedTuple):
    """What a request came to.

    The scripts' heads say which answers each has. `number` and `reason` are read by the names
    below, each of which says for which kinds it stands.
    """

    kind: Kind
    number: int = 0
    stop: bool = False
    reason: str = ""

    @property
    def attempt(self) -> int:
        """`ok` to a claim: the attempt that began; `fenced`: the one that has taken over."""
        return self.number

    @property
    def continues(self) -> int:
        """`ok` to a claim: how many chunks of earlier attempts stand before it."""
        return int(self.reason)

    @property
    def last_seq(self) -> int:
        """`ok`, `duplicate`: the seq of the last chunk in the log; to a post: of the event."""
        return self.number

    @property
    def expected_seq(self) -> int:
        """`gap`: the seq of the chunk to send next."""
        return self.number

    @property
    def retry_in_ms(self) -> int:
        """`busy`, `alive`: milliseconds until the same request may be answered otherwise."""
        return self.number

    @property
    def end_reason(self) -> str:
        """`closed`, `ended`, `exists`: why the stream has ended; `""` while it is open."""
        return self.reason

    @property
    def message(self) -> str:
        """`error`, `refused`: what the store said."""
        return self.reason

    @property
    def is_new(self) -> bool:
        """`ok` to a create: the stream was not there before."""
        return self.number == 1

    @property
    def checkpoint(self) -> str:
        """`ok` to a recall: the value kept, as JSON text; `""` for none. It covers `last_seq`."""
        return self.reason

    @property
    def holder(self) -> str:
        """`held`: the stream that the conversation names; `""` for none."""
        return self.reason

    @property
    def turn(self) -> tuple[str, str]:
        """`ok` to a turn: the stream that has it (`""`: none), and its message if not yet sent."""
        stream, _, message = self.reason.partition("\n")
        return stream, message

    @property
    def waiting(self) -> int:
        """`ok` to a turn: how many streams are in the queue."""
        return self.number

    @property
    def over_http(self) -> bool:
        """`ended` to a stop: the stream was written over HTTP."""
        return bool(self.number)

    @property
    def epoch(self) -> int:
        """`fenced` to a write: the newer epoch of the same producer."""
        return self.number

    @property
    def producer_seq(self) -> int:
        """`ok`, `duplicate` to a write: the number of the producer's last request."""
        return self.number

    @property
    def content_type(self) -> str:
        """`type` to a write: the stream's content type."""
        return self.reason

    @property
    def position(self) -> tuple[str, str]:
        """To an open or a write: the offset of the stream's end, and its end reason or `""`."""
        offset, _, end = self.reason.partition(" ")
        return offset, "" if end == "-" else end

    @property
    def mark(self) -> int:
        """`ok` to an enlist: what stands beside the stream in the list, ms."""
        return self.number

    @property
    def now(self) -> int:
        """`ok` to a listed: the store's clock, ms."""
        return self.number

    @property
    def listed(self) -> list[tuple[str, int]]:
        """`ok` to a listed: streams and their marks."""
        rows = (row.split(" ") for row in self.reason.split("\n") if row)
        return [(stream_id, int(mark)) for stream_id, mark in rows]

    @property
    def entries(self) -> list[tuple[int, str]]:
        """`ok` to an indexed: times (ms) and stream ids, newest first."""
        words = self.reason.split()
        return [(int(float(at)), name) for name, at in zip(words[::2], words[1::2], strict=True)]

    @property
    def names(self) -> list[str]:
        """`ok` to an unindexed: the streams."""
        return self.reason.split()

    @property
    def source(self) -> str:
        """`ok` to a delete or a fork: the forked stream to count out now; `""` for none."""
        return self.reason


@dataclass(frozen=True, slots=True)
class Create:
    """`wait`: milliseconds in which a producer is awaited; 0: as long as a stream is kept.

    `conversation`: the name of the one that the stream belongs to. `on_end`: of the task that is
    told of its end.
    """

    stream_id: str
    owner: str
    kind: str = "json"
    wait: int = 0
    conversation: str = ""
    on_end: str = ""
    about: About = UNKNOWN


@dataclass(frozen=True, slots=True)
class Claim:
    """Begin an attempt.

    `overwrite`: also of a stream that a living producer holds or that has ended. `after_loss`: also
    of one that ended as `producer-disconnected`, if `owner` is the same. `again`: how often
    the task ran before, as far as Celery knows; for a relay that cannot tell by itself. `on_end`:
    as in `Create`, whose value counts if there is one.
    """

    stream_id: str
    nonce: str
    owner: str = ""
    kind: str = "json"
    attempt: int = 0
    resume: bool = False
    overwrite: bool = False
    after_loss: bool = False
    again: int = 0
    on_end: str = ""
    about: About = UNKNOWN


@dataclass(frozen=True, slots=True)
class Append:
    """Chunks `first` .. `first + count - 1` as JSON texts joined by line breaks.

    `received`: how far the producer had read its conversation when it wrote them; 0: as before.
    """

    stream_id: str
    attempt: int
    nonce: str
    first: int
    count: int
    data: bytes
    end: str = ""
    error: str = ""
    received: int = 0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Create a stream that others write. Times are milliseconds; `config` is what PUT compares.

    A fork begins with `inherited` entries of the stream `source`, whose attempts are `lineage`.
    """

    stream_id: str
    config: str
    nonce: str
    kind: str
    content_type: str
    ttl: int | None = None
    expires_at: int | None = None
    end: str = ""
    count: int = 0
    data: bytes = b""
    source: str = ""
    lineage: tuple[Segment, ...] = ()
    inherited: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Add `count` chunks at the end of a stream made by `Open`; `end` ends it.

    `producer` numbers its requests `number` = 0, 1, ... in each `epoch`, so that a repeated one
    changes nothing. `sequence` has to increase, byte by byte.
    """

    stream_id: str
    content_type: str = ""
    count: int = 0
    data: bytes = b""
    end: str = ""
    sequence: str = ""
    producer: str = ""
    epoch: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """`keep_name`: hide what is a task's, so that a message still in a queue cannot begin it."""

    stream_id: str
    keep_name: bool = False


@dataclass(frozen=True, slots=True)
class Fork:
    """Count a fork of the stream in (`by` 1) or out (-1): a stream with forks is only hidden."""

    stream_id: str
    by: Literal[1, -1]


@dataclass(frozen=True, slots=True)
class Conclude:
    """End (`end`) or release (for `wait` ms) what the delivery with that nonce held, if any.

    `begun`: it was run; else it never will be. `on_end`: as in `Claim`.
    """

    stream_id: str
    owner: str
    nonce: str
    end: str = ""
    error: str = ""
    wait: int = 0
    begun: bool = False
    on_end: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`value`: JSON text that covers the chunks up to `seq`; `received` as in `Append`."""

    stream_id: str
    attempt: int
    nonce: str
    value: str
    seq: int
    received: int = 0


@dataclass(frozen=True, slots=True)
class Recall:
    stream_id: str


@dataclass(frozen=True, slots=True)
class Expect:
    """`wait`: milliseconds in which another delivery of the task comes again."""

    stream_id: str
    owner: str
    wait: int


def list_of(stream_id: str) -> str:
    """The list that the stream belongs to."""
    return LISTS[zlib.crc32(stream_id.encode()) % len(LISTS)]


@dataclass(frozen=True, slots=True)
class Enlist:
    """List a stream whose end is to be told, before it can end.

    `hold`: its end is being told, so nobody else looks at it for the time of a lease. `seen`: the
    mark that it has to have, or 0.
    """

    listed: str
    hold: bool = False
    seen: int = 0

    @property
    def stream_id(self) -> str:
        """What decides about the slot in a cluster."""
        return list_of(self.listed)


@dataclass(frozen=True, slots=True)
class Delist:
    """Remove a stream from its list, unless its mark has changed."""

    listed: str
    mark: int

    @property
    def stream_id(self) -> str:
        """What decides about the slot in a cluster."""
        return list_of(self.listed)


@dataclass(frozen=True, slots=True)
class Listed:
    """`limit` streams of a list that nobody looks at now, the oldest marks first."""

    stream_id: str
    skip: int
    limit: int


@dataclass(frozen=True, slots=True)
class NoteTold:
    """The application was told of the end of that attempt, at that time."""

    stream_id: str
    attempt: int
    ended: int


@dataclass(frozen=True, slots=True)
class Index:
    """Correct what the index says of the stream `name`; `at`: when it was asked for, ms."""

    place: str
    name: str
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    at: int = 0

    @property
    def stream_id(self) -> str:
        """What decides about the slot in a cluster, as a stream's id does."""
        return self.place


@dataclass(frozen=True, slots=True)
class Indexed:
    """The newest `limit` entries of a part of the index after the newest `skip`, and how many."""

    place: str
    term: str
    skip: int = 0
    limit: int = 0

    @property
    def stream_id(self) -> str:
        """What decides about the slot in a cluster, as a stream's id does."""
        return self.place


@dataclass(frozen=True, slots=True)
class Unindexed:
    """Which of these streams does the index not know?"""

    place: str
    names: tuple[str, ...]

    @property
    def stream_id(self) -> str:
        """What decides about the slot in a cluster, as a stream's id does."""
        return self.place


@dataclass(frozen=True, slots=True)
class Progress:
    """How far has the search for streams without an entry come? `after`: if it was `before`."""

    after: str = ""
    before: str = ""

    @property
    def stream_id(self) -> str:
        """What decides about the slot in a cluster, as a stream's id does."""
        return "0"


@dataclass(frozen=True, slots=True)
class Probe:
    """Is there such a stream: `ok` or `unknown`."""

    stream_id: str


Request = (
    Create | Claim | Append | Renew | Release | Stop | Reap | Open | Write | Delete | Fork
    | Conclude | Checkpoint | Recall | Expect | Enlist | Delist | Listed | NoteTold
    | ConversationRequest | Index | Indexed | Unindexed | Progress | Probe
)  # fmt: skip


def repeatable(request: Request | Read) -> bool:
    """Whether a request that may have been carried out can be sent again."""
    if isinstance(request, Write):
        return bool(request.producer)
    return not isinstance(request, Fork)


@dataclass(frozen=True, slots=True)
class Read:
    """At most `limit` entries after chunk `seq` of `attempt`, and the state; 0: the state alone.

    `touch`: a reader asks, so a stream with a time to live of its own lives on.
    """

    stream_id: str
    attempt: int = 0
    seq: int = 0
    limit: int = 0
    touch: bool = False


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
