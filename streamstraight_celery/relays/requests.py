"""What a relay can be asked. Each request is atomic.

The head of each script in `lua/` is the contract of its request.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..offsets import Segment
from .about import NOWHERE, UNKNOWN, About, Workplace
from .answers import Answer, Kind
from .conversations import CONVERSATION_TTL, ConversationRequest, Hold, Post, Queue, Receive, Turn

__all__ = ["CONVERSATION_TTL", "Answer", "Hold", "Kind", "Post", "Queue", "Receive", "Turn"]
# Lists of streams whose end is to be told, each on one node of a cluster.
LISTS = tuple(f"ends-{number:x}" for number in range(16))


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
    as in `Create`, whose value counts if there is one. `at`: where it runs.
    `wakes`: the attempt that was suspended, and that this one follows.
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
    at: Workplace = NOWHERE
    wakes: int = 0


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
    """`suspends`: an input or a deadline, in `wait` ms, begins the next attempt."""

    stream_id: str
    attempt: int
    nonce: str
    wait: int
    suspends: bool = False


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


@dataclass(frozen=True, slots=True)
class Seal:
    """Replace the log of a stream that has ended by deflated blocks (`sealing.py`), part by part.

    `last`: the seq of its last chunk. `place`: where the parts gather. `before`: how many blocks
    earlier parts had. `index`: comes with the last part, and puts them in the log's place.
    """

    stream_id: str
    attempt: int
    nonce: str
    last: int
    place: str
    before: int
    blocks: tuple[bytes, ...]
    index: str = ""


@dataclass(frozen=True, slots=True)
class Watch:
    """How many readers has the stream? `server`: tells that it serves `readers` of them."""

    stream_id: str
    server: str = ""
    readers: int = -1


# ms for which a server's number of readers counts
WATCH_TTL = 12_000

Request = (
    Create | Claim | Append | Renew | Release | Stop | Reap | Open | Write | Delete | Fork
    | Conclude | Checkpoint | Recall | Expect | Enlist | Delist | Listed | NoteTold
    | ConversationRequest | Index | Indexed | Unindexed | Progress | Probe | Seal | Watch
)  # fmt: skip


def repeatable(request: Request | Read) -> bool:
    """Whether a request that may have been carried out can be sent again."""
    if isinstance(request, Write):
        return bool(request.producer)
    return not isinstance(request, (Fork, Seal))


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
