"""The position of a reader: (attempt, seq, nonce), written as one opaque string.

Why three parts. `seq` alone means other text in another attempt. Attempt and seq alone are not
enough either: when Redis loses its newest writes (a lagging replica is promoted, a restart without
persistence), the same attempt number can be handed out again and mean other bytes. The random
nonce of each attempt makes the two distinguishable.

Written `AAAAAA_SSSSSSSSSS_nnnnnnnn`, decimal and of fixed width, so that offsets of one stream
increase as byte strings (Durable Streams, section on offsets) and need no escaping in a URL.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from .errors import MalformedOffsetError

START = "-1"
NOW = "now"
# Of a stream that has not been claimed yet.
NO_NONCE = "00000000"
_FROM_END = re.compile(r"-(0[1-9]|[1-9]\d{0,9})\Z", re.ASCII)
_PATTERN = re.compile(r"(\d{6})_(\d{10})_([0-9a-f]{8})\Z", re.ASCII)


def from_end(text: str) -> int | None:
    """How many of the last chunks a negative offset asks for; None: it is no such offset.

    `-1` is the start, as the Durable Streams protocol has it; `-01` is the last chunk alone.
    """
    found = _FROM_END.match(text)
    return None if found is None or text == START else int(found[1])


def new_nonce() -> str:
    """A nonce for one attempt: 8 hexadecimal digits."""
    return secrets.token_hex(4)


@dataclass(frozen=True, slots=True)
class Offset:
    """The position after chunk number `seq` of `attempt`; seq 0 is the attempt's start."""

    attempt: int
    seq: int
    nonce: str

    def __str__(self) -> str:
        return f"{self.attempt:06d}_{self.seq:010d}_{self.nonce}"

    @classmethod
    def parse(cls, text: str) -> Offset:
        """Read an offset back.

        Raises:
            MalformedOffsetError: `text` is not an offset of this format.
        """
        match = _PATTERN.match(text)
        if match is None:
            raise MalformedOffsetError(
                f"malformed offset {text[:64]!r}: use an offset from the relay server, -1 or now"
            )
        return cls(int(match[1]), int(match[2]), match[3])


@dataclass(frozen=True, slots=True)
class Segment:
    """The chunks that one attempt added to the log: all up to and including `last`."""

    attempt: int
    nonce: str
    last: int


def segment_of(segments: Sequence[Segment], seq: int) -> Segment:
    """The attempt that wrote chunk `seq` of a log."""
    for segment in segments:
        if seq <= segment.last:
            return segment
    return segments[-1]


def offset_at(segments: Sequence[Segment], seq: int) -> Offset:
    """The offset after chunk `seq`."""
    segment = segment_of(segments, seq)
    return Offset(segment.attempt, seq, segment.nonce or NO_NONCE)


class Verdict(Enum):
    """What an offset means for the log as it stands."""

    VALID = "valid"
    SUPERSEDED = "superseded"  # a newer attempt replaced the chunks; start again
    GONE = "gone"  # the chunks were lost for good


def judge(offset: Offset, segments: tuple[Segment, ...], ended: bool) -> Verdict:
    """Say whether a reader may continue from `offset`.

    `segments` are the attempts whose chunks make up the log, oldest first; the last one is the
    current attempt. A position beyond the current end is valid while the stream is open: Redis
    lost its tail and the producer, which keeps a copy, is about to send it again.
    """
    current = segments[-1]
    if offset.attempt > current.attempt:
        return Verdict.GONE if ended else Verdict.VALID
    for segment in segments:
        if segment.attempt != offset.attempt:
            continue
        if segment.nonce != offset.nonce:
            return Verdict.SUPERSEDED
        if offset.seq <= segment.last:
            return Verdict.VALID
        if segment is current:
            return Verdict.GONE if ended else Verdict.VALID
        return Verdict.SUPERSEDED
    return Verdict.SUPERSEDED
