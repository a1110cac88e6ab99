"""Requests to script calls and back, without I/O: shared by the sync and async Redis relays."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, cast

from ...offsets import Segment
from ..about import ACTIVE, ONE_PLACE, PLACES, RECENT, About
from ..base import Notice, Page, RelayOptions, StreamState
from ..conversations import (
    MAX_QUEUE,
    MOST_WOKEN,
    Await,
    Hold,
    Post,
    Queue,
    Receive,
    Resume,
    Turn,
    Wake,
)
from ..end_reasons import EXPIRED, LOST
from ..requests import (
    Answer,
    Append,
    Checkpoint,
    Claim,
    Conclude,
    Create,
    Delete,
    Delist,
    Enlist,
    Entry,
    Expect,
    Fork,
    Index,
    Indexed,
    Kind,
    Listed,
    NoteTold,
    Open,
    Probe,
    Progress,
    Read,
    Reap,
    Recall,
    Release,
    Renew,
    Request,
    Seal,
    Stop,
    Unindexed,
    Watch,
    Write,
)

PUBLISH = b"PUBLISH"
PARTS_TTL = 60_000  # ms in which a sealer sends the next part

logger = logging.getLogger(__name__)

Argument = str | bytes | int


@dataclass(frozen=True, slots=True)
class Script:
    text: str
    sha: str


def _load(*names: str) -> Script:
    """One script out of one file or more."""
    folder = resources.files(__name__.rpartition(".")[0]) / "lua"
    text = "".join((folder / f"{name}.lua").read_text("utf-8") for name in names)
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


SCRIPTS = {
    Create: _load("clock", "listing", "create"),
    Claim: _load("clock", "log", "listing", "claim"),
    Append: _load("clock", "log", "append"),
    Renew: _load("clock", "renew"),
    Release: _load("clock", "log", "release"),
    Stop: _load("clock", "log", "stop"),
    Reap: _load("clock", "log", "reap"),
    Conclude: _load("clock", "log", "conclude"),
    Checkpoint: _load("clock", "checkpoint"),
    Recall: _load("recall"),
    Expect: _load("clock", "expect"),
    Read: _load("clock", "read"),
    Open: _load("clock", "log", "listing", "open"),
    Write: _load("clock", "log", "write"),
    Delete: _load("log", "delete"),
    Fork: _load("fork"),
    Post: _load("clock", "log", "conversation", "post"),
    Hold: _load("clock", "log", "conversation", "hold"),
    Queue: _load("clock", "log", "conversation", "queue"),
    Turn: _load("turn"),
    Enlist: _load("clock", "enlist"),
    Delist: _load("delist"),
    Listed: _load("clock", "listed"),
    NoteTold: _load("note_told"),
    Index: _load("clock", "listing", "index"),
    Indexed: _load("indexed"),
    Unindexed: _load("unindexed"),
    Progress: _load("clock", "progress"),
    Seal: _load("seal"),
    Receive: _load("receive"),
    Await: _load("clock", "log", "conversation", "await"),
    Wake: _load("clock", "log", "conversation", "wake"),
    Resume: _load("clock", "resume"),
    Watch: _load("clock", "watch"),
}


class Calls:
    """Turns requests into the arguments of EVALSHA.

    Args:
        options: what the requests have in common.
        in_cluster: the Redis is a node of a cluster.
        database: Redis' channels are not divided by database, ours are: it is part of their name.
        publish: `PUBLISH`, or `SPUBLISH` in a cluster.
    """

    def __init__(
        self,
        options: RelayOptions,
        *,
        database: int = 0,
        publish: bytes = PUBLISH,
        in_cluster: bool = False,
    ) -> None:
        self._options = options
        self.sharded_index = in_cluster
        self._suffix = f":n{database or ''}"
        self._publish = publish
        self._unheard = False
        # Most streams of an application stand in the same parts of the index.
        self._indexed = lru_cache(1024)(self._index_keys)

    def note_unheard(self, answers: Sequence[Any]) -> None:
        """Log, the first time, that Redis refused to publish a notice of a write."""
        if self._unheard:
            return
        for answer in answers:
            if isinstance(answer, list) and len(answer) == 5:
                self._unheard = True
                logger.error(
                    "readers see chunks late: Redis refuses to publish notices (%s). Allow the "
                    "Redis user PUBLISH on these channels: ACL SETUSER <user> +publish &%s*",
                    answer[4].decode(), self._options.key_prefix,
                )  # fmt: skip
                return

    @property
    def sharded(self) -> bool:
        """Whether notices go over sharded channels."""
        return self._publish != PUBLISH

    def state_key(self, stream_id: str) -> str:
        return f"{self._options.key_prefix}{{{stream_id}}}:m"

    def every_state_key(self) -> str:
        """A pattern of the state keys of all streams (`SCAN MATCH`)."""
        prefix = re.sub(r"([\\*?\[\]])", r"\\\1", self._options.key_prefix)
        return f"{prefix}{{*}}:m"

    def stream_id_of_state(self, key: str) -> str:
        return key[len(self._options.key_prefix) + 1 : -3]

    def log_key(self, stream_id: str) -> str:
        return f"{self._options.key_prefix}{{{stream_id}}}:s"

    def parts_key(self, stream_id: str, place: str) -> str:
        return f"{self._options.key_prefix}{{{stream_id}}}:z:{place}"

    def presence_key(self, stream_id: str) -> str:
        return f"{self._options.key_prefix}{{{stream_id}}}:w"

    def channel(self, stream_id: str) -> str:
        return f"{self._options.key_prefix}{{{stream_id}}}{self._suffix}"

    def list_key(self, name: str) -> str:
        return f"{self._options.key_prefix}e:{{{name}}}"

    @property
    def places(self) -> tuple[str, ...]:
        """Where the index is: in a cluster it is spread over the nodes."""
        return PLACES if self.sharded_index else ONE_PLACE

    def index_key(self, place: str, term: str) -> str:
        return f"{self._options.key_prefix}i:{{{place}}}:{term}"

    def _index_keys(self, terms: tuple[str, ...]) -> tuple[str, ...]:
        """The index's keys, for a script that changes a stream; in a cluster none may be there."""
        return () if self.sharded_index else tuple(self.index_key("0", term) for term in terms)

    def stream_id(self, channel: str) -> str:
        return channel[len(self._options.key_prefix) + 1 : -len(self._suffix) - 1]

    def evalsha(self, request: Request | Read) -> tuple[Argument, ...]:
        """The words after EVALSHA."""
        keys, args = self._words(request)
        return (SCRIPTS[type(request)].sha, len(keys), *keys, *args)

    def commands(
        self, requests: Sequence[Request | Read], asking: bool
    ) -> list[tuple[Argument, ...]]:
        """The commands of these requests; each behind ASKING, if asked for: two answers each."""
        commands: list[tuple[Argument, ...]] = []
        for request in requests:
            if asking:
                commands.append(("ASKING",))
            if isinstance(request, Probe):
                commands.append(("EXISTS", self.state_key(request.stream_id)))
                continue
            commands.append(("EVALSHA", *self.evalsha(request)))
        return commands

    def _words(self, request: Request | Read) -> tuple[list[str], tuple[Argument, ...]]:
        options = self._options
        name = request.stream_id
        two = [self.state_key(name), self.log_key(name)]
        three = [*two, *self._indexed((ACTIVE,))]
        # Not among the keys: a cluster that moves a slot refuses scripts of which one is missing.
        channel = self.channel(name)
        match request:
            case Append(_, attempt, nonce, first, count, data, end, error, received):
                return three, (
                    attempt, nonce, first, count, data, options.lease, options.ttl,
                    options.max_bytes, end, error, self._publish, channel, received,
                )  # fmt: skip
            case Read(_, attempt, seq, limit, touch):
                return two, (attempt, seq, limit, "1" if touch else "")
            case Renew(_, attempt, nonce):
                return two, (attempt, nonce, options.lease, options.ttl)
            case Create(_, owner, kind, wait, conversation, on_end, about):
                return [two[0], *self._indexed(about.terms)], (
                    owner, options.ttl, kind, wait or options.ttl, conversation, on_end,
                    about.task, about.labels_json, about.ttl,
                )  # fmt: skip
            case Claim(_, nonce, owner, kind, attempt, resume, overwrite, after_loss, _, on_end):
                about = request.about
                return [*two, *self._indexed(about.terms)], (
                    nonce, options.lease, options.ttl, attempt, owner, kind, self._publish,
                    "1" if resume else "", "1" if overwrite else "", channel,
                    "1" if after_loss else "", on_end,
                    about.task, about.labels_json, about.ttl, *request.at,
                    request.wakes,
                )  # fmt: skip
            case Release(_, attempt, nonce, wait, suspends):
                return three, (
                    attempt, nonce, wait, options.ttl, self._publish, channel,
                    "1" if suspends else "",
                )  # fmt: skip
            case Stop():
                return three, (options.ttl, self._publish, channel)
            case Reap():
                return three, (
                    options.reap_after, options.ttl, LOST, self._publish, EXPIRED, channel,
                    options.reap_notice,
                )  # fmt: skip
            case Conclude(_, owner, nonce, end, error, wait, begun, on_end):
                return three, (
                    owner, nonce, end, error, wait, options.ttl, self._publish,
                    "1" if begun else "", channel, on_end,
                )  # fmt: skip
            case Checkpoint(_, attempt, nonce, value, seq, received):
                return two[:1], (attempt, nonce, value, seq, options.lease, received)
            case Recall():
                return two[:1], ()
            case Expect(_, owner, wait):
                return two[:1], (owner, wait)
            case Open():
                return [*two, *self._indexed(About().terms)], (
                    request.config, request.nonce, request.kind, request.content_type,
                    _or_empty(request.ttl), _or_empty(request.expires_at), options.ttl,
                    request.end, request.count, request.data, options.max_bytes, self._publish,
                    request.source, format_lineage(request.lineage), channel, *_inherited(request),
                )  # fmt: skip
            case Write():
                numbers = (request.epoch, request.number) if request.producer else ("", "")
                return three, (
                    request.content_type, request.count, request.data, options.ttl,
                    options.max_bytes, request.end, self._publish, request.sequence,
                    request.producer, *numbers, channel,
                )  # fmt: skip
            case Delete(_, keep_name):
                keys = [*two, *self._indexed((ACTIVE, RECENT))]
                return keys, (self._publish, channel, "1" if keep_name else "")
            case Fork(_, by):
                return two[:1], (by,)
            case Enlist(stream, hold, seen):
                held = options.lease if hold else 0
                return [self.list_key(name)], (stream, held, seen or "", options.listed_ttl)
            case Delist(stream, mark):
                return [self.list_key(name)], (stream, mark)
            case Listed(_, skip, limit):
                return [self.list_key(name)], (skip, limit)
            case NoteTold(_, attempt, ended):
                return two[:1], (attempt, ended)
            case Post():
                return two, (
                    *self._conversation(request), request.event_id, request.event,
                    "1" if request.vital else "", request.answers, request.refuses,
                    "1" if request.wakes else "", request.sender, request.ends,
                )  # fmt: skip
            case Hold():
                return two, (
                    *self._conversation(request), request.names, request.instead_of,
                    request.event_id, request.event,
                )  # fmt: skip
            case Index(place, listed, add, remove, at):
                keys = [self.index_key(place, term) for term in (*add, *remove)]
                return keys, (listed, at, len(add))
            case Indexed(place, term, skip, limit):
                return [self.index_key(place, term)], (skip, limit)
            case Unindexed(place, names):
                return [self.index_key(place, RECENT)], names
            case Progress(after, before):
                return [self.index_key(name, "progress")], (after, before)
            case Seal(_, attempt, nonce, last, place, before, blocks, index):
                return [*two, self.parts_key(name, place)], (
                    attempt, nonce, last, before, index, PARTS_TTL, *blocks,
                )  # fmt: skip
            case Probe():
                raise AssertionError("a probe is a plain command")

            case Queue():
                return two, (
                    *self._conversation(request), request.names, request.message,
                    request.event_id, request.event, MAX_QUEUE,
                )  # fmt: skip
            case Turn():
                return two[:1], (request.ended, request.sent, request.about)
            case Receive():
                return two[:1], (request.names, request.seq, "1" if request.child else "")

            case Await():
                return two, (
                    *self._conversation(request), request.names, request.attempt, request.seen,
                    request.question, request.what, request.wait, request.message, MAX_QUEUE,
                )  # fmt: skip
            case Wake():
                return two, (request.done, request.attempt, options.lease, MOST_WOKEN)
            case Resume(_, attempt):
                return two, (attempt, options.ttl)
            case Watch(_, server, readers):
                return [self.presence_key(name)], (server, readers, options.watch_ttl)

    def _conversation(self, request: Post | Hold | Queue | Await) -> tuple[Argument, ...]:
        options = self._options
        return (
            request.key, request.nonce, options.kept_conversation, options.conversation_bytes,
            self._publish, self.channel(request.stream_id),
        )  # fmt: skip


def _or_empty(value: int | None) -> int | str:
    return "" if value is None else value


def _inherited(request: Open) -> list[Argument]:
    """The log's entries and their IDs; entries of several attempts may have become one."""
    words: list[Argument] = []
    for entry in request.inherited:
        attempt = next(part.attempt for part in request.lineage if entry.last <= part.last)
        words += [f"{attempt}-{entry.last}", entry.data]
    return words


def parse_answer(raw: Sequence[Any] | int) -> Answer:
    if isinstance(raw, int):
        return Answer("ok" if raw else "unknown")
    kind, number, stop, reason, *_ = raw
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
    field, data = row[1]
    if field == b"z":
        data = zlib.decompress(data)
    return Entry(last - data.count(b"\n"), last, data)


def _state(now: int, fields: Sequence[bytes | None]) -> StreamState:
    text = [(field or b"").decode() for field in fields]
    attempt, nonce, last, lease, released, end, error, stop, owner, kind = text[:10]
    size, created, first_chunk, ended, lineage = text[10:15]
    content_type, http_written, ttl, expires_at, deleted, conversation = text[15:21]
    on_end, told, task, labels, kept, received, worker, queue, sealed = text[21:30]
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
        content_type=content_type,
        http_written=bool(http_written),
        ttl=int(ttl or kept) if ttl or kept else None,
        expires_at=int(expires_at) if expires_at else None,
        deleted=bool(deleted),
        conversation=conversation,
        on_end=on_end,
        end_told=bool(end) and told == f"{attempt}:{ended}",
        task=task,
        labels=json.loads(labels) if labels else {},
        received=int(received or 0),
        worker=worker,
        queue=queue,
        sealed=bool(sealed) and sealed == attempt,
        suspended=text[30] == "1",
    )


def format_lineage(lineage: Sequence[Segment]) -> str:
    return "".join([f"{part.attempt}:{part.nonce}:{part.last};" for part in lineage])


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
