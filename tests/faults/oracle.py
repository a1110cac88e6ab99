"""Judges a run afterwards: what producers had acknowledged against what readers were given.

Nothing here knows which fault struck, but for whether Redis lost data and when.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.faults.chunks import Mark, read_chunk
from tests.faults.ledger import StreamRecord
from tests.faults.reader import GONE, NOT_FOUND, Life, ReaderRecord

# What readers may be told of a finished stream whose data Redis has lost: plainly, that it is lost.
TOLD = frozenset({GONE, NOT_FOUND, "producer-disconnected"})


@dataclass(frozen=True)
class Loss:
    """Redis lost data that it had acknowledged: what was written between these two moments."""

    since: float
    until: float


def judge_stream(
    name: str,
    stream: StreamRecord,
    readers: Iterable[ReaderRecord],
    *,
    losses: Sequence[Loss] = (),
    deadline: float = float("inf"),
) -> list[str]:
    """Everything that is wrong with one stream; nothing when all promises were kept.

    Args:
        stream: what its producers noted.
        readers: what its readers got.
        losses: when Redis lost data.
        deadline: when every reader had to have been told the end.
    """
    wrong: list[str] = []
    readers = list(readers)
    for number, reader in enumerate(readers):
        found = [*reader.problems, *_lives(name, reader), *_end(stream, reader, losses, deadline)]
        wrong += [f"{name}, reader {number}: {problem}" for problem in found]
    wrong += [
        f"{name}, reader {number}: {reader.resets} resets in {len(stream.attempts)} attempts; "
        f"it read {[_shown(life) for life in reader.lives]}"
        for number, reader in enumerate(readers)
        if reader.resets >= max(1, len(stream.attempts))
    ]
    wrong += [f"{name}: {problem}" for problem in _agreement(readers, stream, losses)]
    wrong += [f"{name}: {problem}" for problem in _fencing(stream, losses)]
    return wrong


def chunks_checked(readers: Iterable[ReaderRecord]) -> int:
    return sum(len(life.chunks) for reader in readers for life in reader.lives)


def _shown(life: Life) -> str:
    chunk = life.chunks[0] if life.chunks else None
    attempt = chunk.get("attempt") if isinstance(chunk, dict) else None
    return f"{len(life.chunks)} chunks of attempt {attempt}"


def _marks(life: Life) -> list[Mark]:
    return [read_chunk(chunk) for chunk in life.chunks]


def _lives(name: str, reader: ReaderRecord) -> list[str]:
    """Each life is one attempt of this stream, from its first chunk, each chunk once, in order."""
    wrong: list[str] = []
    attempts: list[int] = []
    for life in reader.lives:
        try:
            marks = _marks(life)
        except ValueError as error:
            wrong.append(str(error))
            continue
        for place, mark in enumerate(marks, 1):
            if mark.stream != name:
                wrong.append(f"foreign bytes: {mark}")
            elif (mark.attempt, mark.nonce) != (marks[0].attempt, marks[0].nonce):
                wrong.append(f"{mark} among chunks of attempt {marks[0].attempt}")
            elif mark.seq != place:
                wrong.append(f"chunk {mark.seq} in the place of {place}")
            else:
                continue
            break
        if marks:
            attempts.append(marks[0].attempt)
    if attempts != sorted(attempts):
        wrong.append(f"attempts went backwards: {attempts}")
    return wrong


def _end(
    stream: StreamRecord, reader: ReaderRecord, losses: Sequence[Loss], deadline: float
) -> list[str]:
    if not reader.end or reader.ended > deadline:
        late = f"{reader.ended - deadline:.1f} s late" if reader.end else "never"
        return [f"told the end {late}; {len(reader.life.chunks)} chunks, {reader.statuses}"]
    if reader.end == "completed":
        return _completed(stream, reader)
    ended = stream.ended
    if ended is None:
        return []  # its producer was lost; that was said
    if reader.end == ended.end:
        return []
    if reader.end in TOLD and was_lost(ended.ended, losses):
        return []
    return [f"told {reader.end!r}, but attempt {ended.attempt} ended {ended.end!r}"]


def _completed(stream: StreamRecord, reader: ReaderRecord) -> list[str]:
    """All that one attempt wrote, to its end, and so all that was acknowledged of it."""
    chunks = reader.life.chunks
    if chunks:
        nonce = str(chunks[0].get("nonce", ""))
    else:
        nonce = next((each.nonce for each in stream.attempts.values() if each.total == 0), "")
    attempt = stream.attempts.get(nonce)
    if attempt is None:
        return ["told 'completed' of an attempt that nobody claimed"]
    if len(chunks) != attempt.total:
        return [
            f"told 'completed' with {len(chunks)} of {attempt.total} chunks, "
            f"{attempt.acked} of them acknowledged"
        ]
    return []


def was_lost(ended: float, losses: Sequence[Loss]) -> bool:
    """Whether Redis lost the end of a stream after it was acknowledged."""
    return any(loss.since <= ended <= loss.until for loss in losses)


def _agreement(
    readers: Sequence[ReaderRecord], stream: StreamRecord, losses: Sequence[Loss]
) -> list[str]:
    wrong: list[str] = []
    bytes_of: Mapping[Mark, set[str]] = defaultdict(set)
    for reader in readers:
        for life in reader.lives:
            for chunk in life.chunks:
                if isinstance(chunk, dict) and "digest" in chunk:
                    mark = Mark(*(chunk.get(name) for name in Mark._fields))
                    bytes_of[mark].add(chunk["digest"] + str(chunk.get("body")))
    wrong += [f"readers got different bytes of {mark}" for mark, all_ in bytes_of.items()
              if len(all_) > 1]  # fmt: skip
    ends = {reader.end for reader in readers if reader.end}
    ended = stream.ended
    if ended is not None and was_lost(ended.ended, losses):
        ends -= TOLD
    elif stream.ended is None and losses:
        ends -= {GONE, NOT_FOUND}
    if len(ends) > 1:
        wrong.append(f"readers were told different ends: {sorted(ends)}")
    return wrong


def _fencing(stream: StreamRecord, losses: Sequence[Loss]) -> list[str]:
    """After an attempt was granted, nothing of an older one was taken, unless Redis went back."""
    wrong: list[str] = []
    ended = [each for each in stream.attempts.values() if each.end]
    if len(ended) > 1 and not losses:
        wrong.append(f"ended by {len(ended)} attempts")
    for older in stream.attempts.values():
        for newer in stream.attempts.values():
            if newer.attempt <= older.attempt or any(loss.until > newer.claimed for loss in losses):
                continue
            late = older.last_sent - newer.claimed
            if late > 0:
                wrong.append(
                    f"attempt {older.attempt} wrote {late:.3f} s after "
                    f"attempt {newer.attempt} was granted"
                )
    return wrong
