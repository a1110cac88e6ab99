"""Where readers stand: pure functions."""

from __future__ import annotations

import pytest

from streamstraight_celery.errors import MalformedOffsetError
from streamstraight_celery.offsets import Offset, Segment, Verdict, offset_at
from streamstraight_celery.server.live.position import Position, locate, parse_asked

A, B, C = "aaaaaaaa", "bbbbbbbb", "cccccccc"
OPEN = (Segment(2, B, 10),)
RESUMED = (Segment(1, A, 4), Segment(2, B, 10))
QUEUED = (Segment(0, "", 0),)


@pytest.mark.parametrize(
    ("asked", "segments", "ended", "expected"),
    [
        ("-1", OPEN, False, Position(0)),
        ("now", OPEN, False, Position(10)),
        ("now", OPEN, True, Position(10)),
        (Offset(2, 7, B), OPEN, False, Position(7)),
        (Offset(2, 10, B), OPEN, True, Position(10)),
        (Offset(2, 11, B), OPEN, False, Position(11)),
        (Offset(2, 11, B), OPEN, True, Verdict.GONE),
        (Offset(2, 7, C), OPEN, False, Verdict.SUPERSEDED),
        (Offset(1, 7, A), OPEN, False, Verdict.SUPERSEDED),
        (Offset(3, 7, C), OPEN, False, Position(7, Offset(3, 7, C))),
        (Offset(3, 7, C), OPEN, True, Verdict.GONE),
        (Offset(1, 3, A), RESUMED, False, Position(3)),
        (Offset(1, 5, A), RESUMED, False, Verdict.SUPERSEDED),
        (Offset(2, 3, B), RESUMED, False, Position(3)),
        (Offset(0, 0, "00000000"), QUEUED, False, Position(0)),
        (Offset(0, 0, "00000000"), OPEN, False, Position(0)),
        (Offset(1, 0, A), OPEN, False, Position(0)),
        (Offset(1, 0, A), OPEN, True, Position(0)),
        (Offset(3, 0, "00000000"), OPEN, False, Position(0, Offset(3, 0, "00000000"))),
        (Offset(3, 0, "00000000"), OPEN, True, Position(0)),
        (Offset(2, 0, "00000000"), OPEN, False, Position(0)),
    ],
)
def test_locate(asked, segments, ended, expected) -> None:  # type: ignore[no-untyped-def]
    assert locate(asked, segments, ended) == expected


def test_offsets_of_a_resumed_log_name_the_attempt_that_wrote_the_chunk() -> None:
    offsets = [offset_at(RESUMED, seq) for seq in range(11)]
    assert [offset.attempt for offset in offsets] == [1] * 5 + [2] * 6
    assert [str(offset) for offset in offsets] == sorted({str(offset) for offset in offsets})


def test_the_offset_of_a_queued_stream_can_be_read_back() -> None:
    offset = offset_at(QUEUED, 0)
    assert Offset.parse(str(offset)) == offset


def test_every_offset_of_a_log_is_a_place_in_it() -> None:
    for seq in range(11):
        assert locate(offset_at(RESUMED, seq), RESUMED, True) == Position(seq)


@pytest.mark.parametrize(("text", "last"), [("-01", 1), ("-2", 2), ("-10", 10)])
def test_a_negative_offset_asks_for_the_last_chunks(text: str, last: int) -> None:
    assert parse_asked(text) == last


@pytest.mark.parametrize(
    "text", ["", "0", "-0", "-002", "NOW", "1_2_3", "000001_0000000001_AABBCCDD"]
)
def test_other_offsets_are_refused(text: str) -> None:
    with pytest.raises(MalformedOffsetError):
        parse_asked(text)
