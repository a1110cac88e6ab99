"""A reader's position as text, for readers over HTTP. No I/O.

After a frame it is an offset of the server's. Between two chunks of one frame it is
`offset,skip,proof`: continue from `offset` and leave out `skip` chunks. (The protocol keeps `,` out
of offsets.) The log never changes before its end, so after the same offset the same chunks follow,
however they are cut into frames, unless a new attempt replaced them. Then the server refuses the
offset, with one exception: offsets before the first chunk are good for every attempt. There the
proof tells: the chunks that are left out must have the same checksum as those that were read.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

from ..errors import MalformedOffsetError
from ..offsets import Offset


class Place(NamedTuple):
    """An offset, how many chunks to leave out after it, and the proof that they are the same.

    `proof` is `=` and a checksum. Positions of earlier versions have the offset after their frame.
    """

    offset: str
    skip: int = 0
    proof: str = ""

    def __str__(self) -> str:
        return f"{self.offset},{self.skip},{self.proof}" if self.skip else self.offset

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read a position back.

        Raises:
            MalformedOffsetError: `text` is not a position of a reader.
        """
        offset, _, rest = text.partition(",")
        skip, _, proof = rest.partition(",")
        if rest and not (skip.isascii() and skip.isdigit() and len(skip) < 16):
            raise MalformedOffsetError(
                f"malformed offset {text[:64]!r}: use what a reader's .offset said"
            )
        return cls(offset, int(skip or 0), proof)


def checksum(chunk: str, before: int = 0) -> int:
    """The checksum of a chunk's JSON text, after that of the chunks before it."""
    return crc32(chunk.encode("utf-8", "backslashreplace"), before)


def proof_of(total: int) -> str:
    """The proof for chunks with this checksum."""
    return f"={total:08x}"


def is_same(proof: str, total: int, frame_end: str) -> bool:
    """Whether the chunks left out are those that were read before.

    Args:
        proof: the position's.
        total: the checksum of the chunks that were left out now.
        frame_end: the offset after their frame.
    """
    if proof.startswith("=") or not proof:
        return proof in ("", proof_of(total))
    # Of an earlier version: the frame may have grown, but it must be of the same attempt.
    attempt = _attempt_of(proof)
    return proof == frame_end or (attempt is not None and attempt == _attempt_of(frame_end))


def _attempt_of(offset: str) -> tuple[int, str] | None:
    try:
        found = Offset.parse(offset)
    except MalformedOffsetError:
        return None
    return found.attempt, found.nonce
