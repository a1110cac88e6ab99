"""A contiguous run of a log's entries, and their encoded frames, shared by all readers. No I/O."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Protocol

from ...relays.requests import Entry

# A reader gets a frame whole or not at all; a send is one system call.
FRAME_BYTES = 32 * 1024
SEND_BYTES = 64 * 1024
# One HTTP request may write millions of chunks, and each may become a separate event.
PIECE_CHUNKS = 4096
ENCODED_BYTES = 512 * 1024  # of frames kept for other readers, about

_last = attrgetter("last")


class Encode(Protocol):
    """Turns one entry (or several merged ones) into the frames of one frame writer."""

    def __call__(self, entry: Entry, /) -> bytes: ...


class Window:
    """Entries without a gap: chunks `base + 1` to `last`.

    Args:
        base: seq of the chunk before the first one.
        entries: what follows it, up to the first gap.
    """

    __slots__ = ("_encoded_size", "base", "encoded", "entries", "last", "size")

    def __init__(self, base: int = 0, entries: Iterable[Entry] = ()) -> None:
        self.base = self.last = base
        self.entries: list[Entry] = []
        self.size = 0
        # By reader's position and frame writer, until the next entry: readers share one object.
        self.encoded: dict[object, tuple[bytes, int]] = {}
        self._encoded_size = 0
        self.extend(entries)

    def extend(self, entries: Iterable[Entry]) -> bool:
        """Add entries up to the first gap; False when none of them is new."""
        before = self.last
        for entry in entries:
            if entry.first == self.last + 1:
                self._take(entry)
            elif not self.append(entry):
                break
        if self.last == before:
            return False
        self.encoded.clear()
        return True

    def append(self, entry: Entry) -> bool:
        """Add the new chunks of `entry`; False if chunks are missing in between."""
        if entry.last <= self.last:
            return True
        if entry.first > self.last + 1:
            return False
        if entry.first <= self.last:
            entry = entry.after(self.last)
        self._take(entry)
        self.encoded.clear()
        return True

    def _take(self, entry: Entry) -> None:
        if entry.last - entry.first < PIECE_CHUNKS:
            self.entries.append(entry)
            self.size += len(entry.data)
        else:
            pieces = _pieces(entry)
            self.entries += pieces
            self.size += sum([len(piece.data) for piece in pieces])
        self.last = entry.last

    def remember(self, key: object, frames: tuple[bytes, int]) -> None:
        """Keep `frames` for other readers at the same position."""
        if self._encoded_size > ENCODED_BYTES or not self.encoded:
            self.encoded.clear()
            self._encoded_size = 0
        self.encoded[key] = frames
        self._encoded_size += len(frames[0])

    def trim(self, limit: int) -> None:
        """Drop the oldest entries so that about `limit` bytes are left."""
        # In steps of a quarter, because cutting a list's head moves all of it.
        if self.size <= limit + limit // 4:
            return
        cut = 0
        while self.size > limit and cut < len(self.entries) - 1:
            self.size -= len(self.entries[cut].data)
            cut += 1
        if cut:
            self.base = self.entries[cut - 1].last
            del self.entries[:cut]

    def after(self, seq: int, limit: int) -> Iterator[Entry]:
        """The entries behind chunk `seq` (not below `base`), until there are `limit` bytes."""
        entries = self.entries
        if not entries or seq >= self.last:
            return
        newest = entries[-1]
        if newest.first == seq + 1:
            yield newest
            return
        size = 0
        for index in range(bisect_right(entries, seq, key=_last), len(entries)):
            entry = entries[index].after(seq)
            yield entry
            size += len(entry.data)
            if size >= limit:
                return

    def encode(self, seq: int, encode: Encode) -> tuple[bytes, int]:
        """The next frames for a reader at `seq`, and where it is then."""
        frames = []
        for entry in merge(self.after(seq, SEND_BYTES), FRAME_BYTES):
            frames.append(encode(entry))
            seq = entry.last
        return (frames[0] if len(frames) == 1 else b"".join(frames)), seq


def merge(entries: Iterable[Entry], limit: int) -> Iterator[Entry]:
    """Join neighbouring entries into ones of about `limit` bytes."""
    group: list[Entry] = []
    size = 0
    for entry in entries:
        if group and size + len(entry.data) > limit:
            yield _joined(group)
            group, size = [], 0
        group.append(entry)
        size += len(entry.data)
    if group:
        yield _joined(group)


def _pieces(entry: Entry) -> list[Entry]:
    lines = entry.data.split(b"\n")
    found = []
    for start in range(0, len(lines), PIECE_CHUNKS):
        part = lines[start : start + PIECE_CHUNKS]
        first = entry.first + start
        found.append(Entry(first, first + len(part) - 1, b"\n".join(part)))
    return found


def _joined(group: list[Entry]) -> Entry:
    if len(group) == 1:
        return group[0]
    return Entry(group[0].first, group[-1].last, b"\n".join([entry.data for entry in group]))
