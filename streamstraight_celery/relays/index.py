"""The index by which streams are found: active ones, recent ones, and those of a task or a label.

It is a few sorted sets of stream ids by the time they were asked for. It is advisory: whoever
reads it looks at each stream's own state, which alone decides, and removes what is not so. No I/O.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from ..errors import ConfigurationError
from ..ids import CONVERSATION_PREFIX
from .about import ACTIVE, RECENT, About, check_labels, label_term, task_term
from .end_reasons import ENDS, FAILURES
from .requests import (
    Answer,
    Append,
    Claim,
    Conclude,
    Create,
    Delete,
    Index,
    Indexed,
    Open,
    Probe,
    Progress,
    Read,
    Reap,
    Release,
    Request,
    Stop,
    Unindexed,
    Write,
)

if TYPE_CHECKING:
    from .base import Page, StreamState

PAGE = 200  # entries of one read of the index, at least
MOST = 2000
STATUSES = ("queued", "streaming", "stalled", "retrying", "waiting", "open")
STATES = ("active", *STATUSES, "ended", "failed", *ENDS)

TIDY = 64  # entries of each kind that one round looks at
TIDY_ROUNDS = 8
TIDY_EVERY = 64  # streams asked for by one process

# Streams of a version without an index are looked for during the first day, a little each time.
SEARCH_FOR = 24 * 3_600_000  # ms
SEARCH_AGAIN = 10_000  # ms after the last time that all keys were seen
SEARCH_SECONDS = 0.01


class Scan(NamedTuple):
    """Ask the store for some of the streams that it keeps, by looking at all of its keys."""

    cursor: str


Ask = Sequence[Request | Read] | Scan
Steps = Generator[Ask, Any, "Found"]


@dataclass(frozen=True, slots=True)
class Query:
    """Which streams, newest first.

    Attributes:
        labels: that they all have.
        task: the name of their task; "": any.
        states: statuses or end reasons of which they have one; `active` is all that have not
            ended, `failed` every bad end. Empty: any.
        limit: how many.
        lost: only those whose lease, or time to begin, is over.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    task: str = ""
    states: Collection[str] = ()
    limit: int = 100
    lost: bool = False

    @classmethod
    def of(
        cls,
        *,
        labels: object = None,
        task: str = "",
        state: str | Iterable[str] = (),
        limit: int = 100,
    ) -> Query:
        """Check what is asked for.

        Raises:
            ConfigurationError: there are no such labels, states or limits.
        """
        states = (state,) if isinstance(state, str) else tuple(state)
        for each in states:
            if each not in STATES:
                raise ConfigurationError(f"state={each!r}: use {', '.join(STATES)}")
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ConfigurationError(f"limit={limit!r}: use a number from 1")
        if not isinstance(task, str):
            raise ConfigurationError(f"task={task!r}: use the name of a task")
        return cls(check_labels(labels), task, states, limit)

    @property
    def term(self) -> str:
        """The part of the index that is likely to hold the fewest others."""
        for name, value in self.labels.items():
            return label_term(name, value)
        if self.states and all(state in ("active", *STATUSES) for state in self.states):
            return ACTIVE
        return task_term(self.task) if self.task else RECENT

    def belongs(self, state: StreamState, term: str) -> bool:
        """Whether the index is right about a stream, that it stands under this term."""
        if state.deleted:
            return False
        if term == ACTIVE:
            return not state.end
        return term == RECENT or term in terms_of(state)

    def wants(self, state: StreamState) -> bool:
        """Whether a stream is to be found."""
        known = {state.end, state.status, *(() if state.end else ("active",))}
        if state.end in FAILURES:
            known.add("failed")
        return (
            not state.deleted
            and (not self.lost or state.lease_left < 0)
            and (not self.task or state.task == self.task)
            and all(state.labels.get(name) == value for name, value in self.labels.items())
            and (not self.states or not known.isdisjoint(self.states))
        )


class Found(NamedTuple):
    """Streams and their states, newest first.

    `total` is how many entries the index has of that kind, some of which may be stale; `more`: the
    limit has cut some off; `complete`: no streams of an earlier version are still to be found.
    """

    streams: list[tuple[str, StreamState]]
    total: int
    more: bool = False
    complete: bool = True


def find(query: Query, places: Sequence[str]) -> Steps:
    """The streams of a query. Yields what to ask, is sent the answers, and repairs the index."""
    term = query.term
    found: list[tuple[str, StreamState]] = []
    seen: set[str] = set()
    walk = _Walk(term, places, query.limit)
    while len(found) < query.limit:
        names = yield from walk.next(min(query.limit - len(found), MOST))
        if not names:
            break
        fresh = [name for name in names if name not in seen]
        seen.update(fresh)
        pages: Sequence[Page | None] = (yield [Read(name) for name in fresh]) if fresh else []
        wrong = []
        for name, page in zip(fresh, pages, strict=True):
            if page is None or not query.belongs(page.state, term):
                gone = page is None or page.state.deleted
                wrong.append(Index(place_of(name, places), name, remove=_unfit(term, gone)))
            elif query.wants(page.state):
                found.append((name, page.state))
        if wrong:
            yield wrong
    found.sort(key=lambda each: (-each[1].created, each[0]))
    more = len(found) > query.limit or (len(found) == query.limit and walk.has_more)
    return Found(found[: query.limit], max(walk.total, len(found)), more)


def _unfit(term: str, gone: bool) -> tuple[str, ...]:
    return tuple({term, RECENT, ACTIVE}) if gone else (term,)


class _Walk:
    """The ids under a term, newest first, over all places."""

    def __init__(self, term: str, places: Sequence[str], limit: int) -> None:
        self._term = term
        self._size = min(max(PAGE, limit), MOST)
        # A place: the entries that were read and not taken, newest last, and how many were read.
        self._read: dict[str, tuple[list[tuple[int, str]], int]] = dict.fromkeys(places, ([], 0))
        self._over: set[str] = set()
        self.total = 0

    @property
    def has_more(self) -> bool:
        """There are ids that were not taken."""
        return any(left or place not in self._over for place, (left, _) in self._read.items())

    def next(self, count: int) -> Generator[Ask, Any, list[str]]:
        """The next ids: `count` or a few more; none at the end."""
        count = max(count, 20)
        names: list[str] = []
        while len(names) < count:
            short = [
                place for place, (left, _) in self._read.items()
                if not left and place not in self._over
            ]  # fmt: skip
            if short:
                yield from self._fill(short)
                continue
            ahead = [(left[-1], place) for place, (left, _) in self._read.items() if left]
            if not ahead:
                break
            (_, name), place = max(ahead)
            self._read[place][0].pop()
            names.append(name)
        return names

    def _fill(self, places: Sequence[str]) -> Generator[Ask, Any, None]:
        asked = [Indexed(place, self._term, self._read[place][1], self._size) for place in places]
        answers: Sequence[Answer] = yield asked
        for request, answer in zip(asked, answers, strict=True):
            entries = answer.entries
            self.total += answer.number if not request.skip else 0
            self._read[request.place] = entries[::-1], request.skip + len(entries)
            if len(entries) < self._size:
                self._over.add(request.place)


def tidy(terms: Iterable[str], places: Sequence[str], pick: Callable[[int], int]) -> Steps:
    """Drop entries of streams that are gone: the oldest, and some elsewhere.

    It goes on for as long as a third of what it looks at is gone, so that at most half of the
    index is stale, however long streams are kept.

    Args:
        pick: a number below the one given, by chance.
    """
    for term in terms:
        place = places[pick(len(places))]
        for _ in range(TIDY_ROUNDS):
            (counted,) = yield [Indexed(place, term, 0, 0)]
            asked = [
                Indexed(place, term, max(0, counted.number - TIDY), TIDY),
                Indexed(place, term, pick(max(1, counted.number)), TIDY),
            ]
            answers: Sequence[Answer] = yield asked
            names = list({name for answer in answers for _, name in answer.entries})
            if not names:
                break
            there: Sequence[Answer] = yield [Probe(name) for name in names]
            gone = [
                name for name, answer in zip(names, there, strict=True) if answer.kind == "unknown"
            ]
            if gone:
                yield [Index(place, name, remove=_unfit(term, True)) for name in gone]
            if len(gone) * 3 < len(names):
                break
    return Found([], 0)


def search(places: Sequence[str], now: Callable[[], float] = time.monotonic) -> Steps:
    """Enter streams that the index does not know, of which there are none but after an upgrade.

    All keys are looked at, `SEARCH_SECONDS` at a time: how far it has come is kept in the store.
    """
    (progress,) = yield [Progress()]
    clock, before = progress.number, progress.reason
    since, cursor, done = (before or f"{clock} 0 0").split(" ")
    if clock - int(since) > SEARCH_FOR:
        return Found([], 0)
    if cursor == "0" and before and clock - int(done) < SEARCH_AGAIN:
        return Found([], 0)
    until = now() + SEARCH_SECONDS
    while True:
        names, cursor = yield Scan(cursor)
        streams = {name for name in names if not name.startswith(CONVERSATION_PREFIX)}
        yield from _enter_missing(sorted(streams), places)
        if cursor == "0" or now() >= until:
            break
    yield [Progress(f"{since} {cursor} {clock}", before)]
    return Found([], 0, complete=cursor == "0")


def _enter_missing(names: Sequence[str], places: Sequence[str]) -> Generator[Ask, Any, None]:
    by_place: dict[str, list[str]] = {}
    for name in names:
        by_place.setdefault(place_of(name, places), []).append(name)
    if not by_place:
        return
    asked = [Unindexed(place, tuple(some)) for place, some in by_place.items()]
    answers: Sequence[Answer] = yield asked
    missing = [name for answer in answers for name in answer.names]
    if not missing:
        return
    pages: Sequence[Page | None] = yield [Read(name) for name in missing]
    entries = [
        Index(
            place_of(name, places), name, at=page.state.created,
            add=terms_of(page.state)[bool(page.state.end) :],
        )
        for name, page in zip(missing, pages, strict=True)
        if page is not None and not page.state.deleted
    ]  # fmt: skip
    if entries:
        yield entries


def terms_of(state: StreamState) -> tuple[str, ...]:
    """The parts of the index in which an active stream stands; it leaves the first at its end."""
    return About(state.task, tuple(state.labels.items())).terms


def changes(
    requests: Sequence[Request | Read], answers: Sequence[Answer | None], places: Sequence[str]
) -> list[Index]:
    """What a cluster's index is to be told after these requests; elsewhere the scripts do it."""
    found = []
    for request, answer in zip(requests, answers, strict=True):
        if answer is None or (change := _change(request, answer)) is None:
            continue
        add, remove = change
        found.append(Index(place_of(request.stream_id, places), request.stream_id, add, remove))
    return found


def _change(
    request: Request | Read, answer: Answer
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    gone: tuple[tuple[str, ...], tuple[str, ...]] = ((), (ACTIVE,))
    match request:
        case Create(about=about):
            return (about.terms, ()) if answer.kind == "ok" and answer.is_new else None
        case Claim(about=about):
            return (about.terms, ()) if answer.kind == "ok" else None
        case Open(end=end):
            terms = About().terms
            return (terms[bool(end) :], ()) if answer.kind == "ok" else None
        case Append(end=end):
            ended = (end and answer.kind in ("ok", "duplicate")) or answer.kind == "too-large"
            return gone if ended else None
        case Write(end=end):
            return gone if end and answer.kind == "ok" else None
        case Stop() | Reap() | Conclude():
            return gone if answer.kind in ("ended", "closed") else None
        case Release():
            return gone if answer.end_reason else None
        case Delete():
            return ((), (ACTIVE, RECENT)) if answer.kind == "ok" else None
        case _:
            return None


def place_of(stream_id: str, places: Sequence[str]) -> str:
    """Where a stream's entries are."""
    return places[crc32(stream_id.encode()) % len(places)]
