"""Where a reader stands in a log. No I/O."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ...offsets import NOW, START, Offset, Segment, Verdict, from_end, judge

# A number: so many of the last chunks.
Asked = Offset | Literal["-1", "now"] | int


class Position(NamedTuple):
    """A reader has everything up to chunk `seq`.

    `ahead` is the reader's offset when it belongs to an attempt that Redis has lost and whose
    producer is about to send it again; until then nothing of this log is for the reader.
    """

    seq: int
    ahead: Offset | None = None


def parse_asked(text: str) -> Asked:
    """Read an offset, `-1`, `now`, or `-N`: the last N chunks.

    Raises:
        MalformedOffsetError: it is neither.
    """
    if text == START:
        return "-1"
    if text == NOW:
        return "now"
    last = from_end(text)
    return Offset.parse(text) if last is None else last


def locate(
    asked: Asked, segments: tuple[Segment, ...], ended: bool
) -> Position | Literal[Verdict.SUPERSEDED, Verdict.GONE]:
    """Tell where a reader that asks for `asked` begins, or why it may not.

    An offset before the first chunk means the beginning whatever its attempt: nothing was
    delivered yet, so nothing needs a reset when a queued stream starts or an attempt fails early.
    Only an older attempt's chunks are not for a reader that knows of a newer one.
    """
    if asked == "now":
        return Position(segments[-1].last)
    if asked == "-1":
        return Position(0)
    if isinstance(asked, int):
        return Position(max(0, segments[-1].last - asked))
    if asked.seq == 0:
        # The start of an attempt not known here yet: the chunks here are an older attempt's.
        early = asked.attempt > segments[-1].attempt and not ended
        return Position(0, asked if early else None)
    verdict = judge(asked, segments, ended)
    if verdict is not Verdict.VALID:
        return verdict
    if asked.attempt > segments[-1].attempt:
        return Position(asked.seq, asked)
    return Position(asked.seq)
