"""One stream in memory: the fields of the hash in `redis/lua/README.md`, and its log."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...offsets import Segment, offset_at
from ..about import NOWHERE, UNKNOWN, About, Workplace
from ..base import StreamState
from ..requests import Entry

NEVER = 99_999_999_999_999  # ms: the end of a lease that no producer has


@dataclass(slots=True)
class Wait:
    """A suspended task, in its conversation."""

    attempt: int
    deadline: int
    question: str
    message: str
    due: bool = False
    held: int = 0


@dataclass(slots=True)
class Stream:
    """Times are milliseconds of the store's clock; `expires_at` is one of the world's."""

    created: int
    lease: int
    expires: int
    attempt: int = 0
    nonce: str = ""
    last: int = 0
    released: bool = False
    noted: int = 0  # ms: when it was first noticed that the lease is over
    end: str = ""
    error: str = ""
    stop: bool = False
    owner: str = ""
    kind: str = "json"
    size: int = 0
    first_chunk: int = 0
    ended: int = 0
    checkpoint: tuple[int, int, str] = (0, 0, "")
    expected: int = 0
    lineage: tuple[Segment, ...] = ()
    entries: list[Entry] = field(default_factory=list)
    # Only of streams that others write.
    http_written: bool = False
    content_type: str = ""
    config: str = ""
    ttl: int | None = None
    expires_at: int | None = None
    sequence: str = ""
    producers: dict[str, tuple[int, int]] = field(default_factory=dict)
    ended_by: tuple[str, int, int] | None = None
    source: str = ""
    forks: int = 0
    deleted: bool = False
    # The name of its conversation; of a conversation, its own.
    conversation: str = ""
    received: int = 0  # how far its producer has read that
    suspended: int = 0  # 1: its producer waits for an input; 2: its next attempt was enqueued
    # Only of conversations: the latest stream, and events' places by their ids.
    is_conversation: bool = False
    latest: str = ""
    events: dict[str, int] = field(default_factory=dict)
    read_to: int = 0
    begun: dict[str, int] = field(default_factory=dict)  # where streams began to receive
    settled: dict[str, str] = field(default_factory=dict)  # questions, by which event
    queue: list[str] = field(default_factory=list)
    messages: dict[str, str] = field(default_factory=dict)
    waits: dict[str, Wait] = field(default_factory=dict)
    deadlines: dict[tuple[str, str], int] = field(default_factory=dict)
    # The task that is told of its end, and the end that was told: its attempt and time.
    on_end: str = ""
    told: tuple[int, int] | None = None
    about: About = UNKNOWN
    at: Workplace = NOWHERE

    def makes_way_for(self, owner: str) -> bool:
        """Whether only the name is left of it, and of another task: deleted, without forks."""
        return self.deleted and self.forks <= 0 and bool(self.owner) and self.owner != owner

    @property
    def segments(self) -> tuple[Segment, ...]:
        return (*self.lineage, Segment(self.attempt, self.nonce, self.last))

    @property
    def position(self) -> str:
        """The offset of its end, and the end reason or `-`."""
        return f"{offset_at(self.segments, self.last)} {self.end or '-'}"

    def state(self, now: int) -> StreamState:
        return StreamState(
            attempt=self.attempt, nonce=self.nonce, last=self.last, lineage=self.lineage,
            end=self.end, error=self.error, stop_asked=self.stop, released=self.released,
            owner=self.owner, kind=self.kind, size=self.size, lease_left=self.lease - now,
            now=now, created=self.created, first_chunk=self.first_chunk, ended=self.ended,
            content_type=self.content_type, http_written=self.http_written,
            ttl=self.ttl or self.about.ttl or None, expires_at=self.expires_at,
            deleted=self.deleted, conversation=self.conversation, task=self.about.task,
            labels=dict(self.about.labels), on_end=self.on_end,
            received=self.received, worker=self.at.worker, queue=self.at.queue,
            suspended=self.suspended == 1 and not self.end,
            end_told=bool(self.end) and self.told == (self.attempt, self.ended),
        )  # fmt: skip
