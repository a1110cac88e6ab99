"""How a stream that has ended is kept: as deflated blocks of chunks. No I/O.

A Redis stream costs 4 KB at least and some 20 bytes an entry, and events of LLM providers repeat
themselves: deflated they take a fifth. Whoever has all chunks seals: the producer once its end is
acknowledged, or a relay server that reads what nobody has sealed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence

from ..offsets import new_nonce
from .base import StreamState
from .requests import Entry, Seal

# A block is read whole, and becomes one event for readers that take many chunks at once.
BLOCK_CHUNKS = 512
BLOCK_BYTES = 64 * 1024
# Blocks in one request: Redis serves nobody else while it takes them in.
PART_BYTES = 64 * 1024
# Level 1 takes half the time, and a little more room, which counts where there is little.
SMALL = 16 * 1024


def can_be_sealed(end: str) -> bool:
    """Whether no attempt may continue a stream that has ended like that, as it may a lost one."""
    return bool(end) and end != "producer-disconnected"


def is_to_be_sealed(state: StreamState) -> bool:
    """Whether nobody has sealed it yet."""
    return can_be_sealed(state.end) and state.last > 0 and not (state.sealed or state.deleted)


def seal_requests(
    stream_id: str, attempt: int, nonce: str, entries: Sequence[Entry]
) -> Iterator[Seal]:
    """What seals a stream that has ended with these entries; each request only after the last.

    The first answer that is not `ok` ends it: the stream then stays as it is.
    """
    place, last = new_nonce(), entries[-1].last
    ends: list[int] = []
    waiting: list[bytes] = []
    for end, block in _blocks(entries):
        if sum([len(each) for each in waiting]) + len(block) > PART_BYTES and waiting:
            before = len(ends) - len(waiting)
            yield Seal(stream_id, attempt, nonce, last, place, before, tuple(waiting))
            waiting = []
        ends.append(end)
        waiting.append(block)
    yield Seal(
        stream_id, attempt, nonce, last, place, len(ends) - len(waiting), tuple(waiting),
        " ".join([str(end) for end in ends]),
    )  # fmt: skip


def _blocks(entries: Iterable[Entry]) -> Iterator[tuple[int, bytes]]:
    """Blocks, and the seq of the last chunk of each."""
    lines: list[bytes] = []
    last, size = 0, 0
    for entry in entries:
        for number, line in enumerate(entry.data.split(b"\n")):
            if lines and (len(lines) == BLOCK_CHUNKS or size + len(line) > BLOCK_BYTES):
                yield last, _deflated(lines)
                lines, size = [], 0
            lines.append(line)
            size += len(line) + 1
            last = entry.first + number
    if lines:
        yield last, _deflated(lines)


def _deflated(lines: list[bytes]) -> bytes:
    data = b"\n".join(lines)
    return zlib.compress(data, 6 if len(data) <= SMALL else 1)
