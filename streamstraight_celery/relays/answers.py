"""What a relay answers."""

from __future__ import annotations

from typing import Literal, NamedTuple

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
    def due(self) -> list[tuple[str, int, str]]:
        """`ok` to a wake: streams, their attempts and their messages."""
        rows = (row.split(" ", 2) for row in self.reason.split("\n") if row)
        return [(stream, int(attempt), message) for stream, attempt, message in rows]

    @property
    def source(self) -> str:
        """`ok` to a delete or a fork: the forked stream to count out now; `""` for none."""
        return self.reason
