"""Requests to script calls and back, without I/O: shared by the sync and async Redis relays."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, cast

from ..offsets import Segment
from .base import (
    Answer,
    Append,
    Claim,
    Create,
    Entry,
    Kind,
    Notice,
    Page,
    Read,
    Reap,
    RelayOptions,
    Release,
    Renew,
    Request,
    Stop,
    StreamState,
)

REAPED = '{"code":"producer-disconnected","message":"The producer of this stream was lost."}'
PUBLISH = b"PUBLISH"

Argument = str | bytes | int


@dataclass(frozen=True, slots=True)
class Script:
    text: str
    sha: str


def _load(name: str) -> Script:
    text = (resources.files(__name__.rpartition(".")[0]) / "lua" / f"{name}.lua").read_text("utf-8")
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


SCRIPTS = {
    Create: _load("create"),
    Claim: _load("claim"),
    Append: _load("append"),
    Renew: _load("renew"),
    Release: _load("release"),
    Stop: _load("stop"),
    Reap: _load("reap"),
    Read: _load("read"),
}


class Calls:
    """Turns requests into the arguments of EVALSHA.

    Args:
        options: what the requests have in common.
        database: Redis' channels are not divided by database, ours are: it is part of their name.
        publish: `PUBLISH`, or `SPUBLISH` in a cluster.
    """

    def __init__(
        self, options: RelayOptions, *, database: int = 0, publish: bytes = PUBLISH
    ) -> None:
        self._options = options
        self._suffix = f":n{database or ''}"
        self._publish = publish

    def state_key(self, stream_id: str) -> str:
        return f"{self._options.key_prefix}{{{stream_id}}}:m"

    def log_key(self, stream_id: str) -> str:
        return f"{self._options.key_prefix}{{{stream_id}}}:s"

    def channel(self, stream_id: str) -> str:
        return f"{self._options.key_prefix}{{{stream_id}}}{self._suffix}"

    def stream_id(self, channel: str) -> str:
        return channel[len(self._options.key_prefix) + 1 : -len(self._suffix) - 1]

    def evalsha(self, request: Request | Read) -> tuple[Argument, ...]:
        """The words after EVALSHA."""
        keys, args = self._words(request)
        return (SCRIPTS[type(request)].sha, len(keys), *keys, *args)

    def _words(self, request: Request | Read) -> tuple[list[str], tuple[Argument, ...]]:
        options = self._options
        name = request.stream_id
        two = [self.state_key(name), self.log_key(name)]
        three = [*two, self.channel(name)]
        match request:
            case Append(_, attempt, nonce, first, count, data, end, error):
                return three, (
                    attempt, nonce, first, count, data, options.lease, options.ttl,
                    options.max_bytes, end, error, self._publish,
                )  # fmt: skip
            case Read(_, attempt, seq, limit):
                return two, (attempt, seq, limit)
            case Renew(_, attempt, nonce):
                return two, (attempt, nonce, options.lease, options.ttl)
            case Create(_, owner, kind):
                return two[:1], (owner, options.ttl, kind)
            case Claim(_, nonce, owner, kind, attempt, resume):
                return three, (
                    nonce, options.lease, options.ttl, attempt, owner, kind, self._publish,
                    "1" if resume else "",
                )  # fmt: skip
            case Release(_, attempt, nonce, wait):
                return two, (attempt, nonce, wait, options.ttl)
            case Stop():
                return three, (options.ttl, self._publish)
            case Reap():
                return three, (options.reap_after, options.ttl, REAPED, self._publish)


def parse_answer(raw: Sequence[Any]) -> Answer:
    kind, number, stop, reason = raw
    return Answer(cast(Kind, kind.decode()), int(number), bool(stop), reason.decode())


def parse_page(raw: Sequence[Any], read: Read) -> Page | None:
    if not raw:
        return None
    now, fields, rows = raw
    entries = tuple(_entry(row) for row in rows)
    if entries and entries[0].first <= read.seq:
        # The first entry may begin before the position that was asked for.
        entries = (entries[0].after(read.seq), *entries[1:])
    return Page(_state(int(now), fields), entries)


def _entry(row: Sequence[Any]) -> Entry:
    last = int(row[0].rpartition(b"-")[2])
    data = row[1][1]
    return Entry(last - data.count(b"\n"), last, data)


def _state(now: int, fields: Sequence[bytes | None]) -> StreamState:
    text = [(field or b"").decode() for field in fields]
    attempt, nonce, last, lease, released, end, error, stop, owner, kind = text[:10]
    size, created, first_chunk, ended, lineage = text[10:]
    return StreamState(
        attempt=int(attempt),
        nonce=nonce,
        last=int(last),
        lineage=parse_lineage(lineage),
        end=end,
        error=error,
        stop_asked=bool(stop),
        released=bool(released),
        owner=owner,
        kind=kind,
        size=int(size or 0),
        lease_left=int(lease) - now,
        now=now,
        created=int(created or 0),
        first_chunk=int(first_chunk or 0),
        ended=int(ended or 0),
    )


def parse_lineage(text: str) -> tuple[Segment, ...]:
    segments = []
    for part in text.split(";")[:-1]:
        attempt, nonce, last = part.split(":")
        segments.append(Segment(int(attempt), nonce, int(last)))
    return tuple(segments)


def parse_notice(message: bytes) -> Notice:
    head, _, data = message.partition(b"\n")
    attempt, nonce, first, last, end = head.decode().split(" ")
    return Notice(int(attempt), nonce, int(first), int(last), "" if end == "-" else end, data)
