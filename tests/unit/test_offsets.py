"""Offsets as text, and what they mean for a log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstraight_celery.errors import MalformedOffsetError
from streamstraight_celery.offsets import Offset, Segment, Verdict, judge, new_nonce

nonces = st.text("0123456789abcdef", min_size=8, max_size=8)
offsets = st.builds(Offset, st.integers(0, 999_999), st.integers(0, 10**10 - 1), nonces)


@given(offsets)
def test_text_and_back(offset: Offset) -> None:
    assert Offset.parse(str(offset)) == offset


@given(offsets, st.integers(1, 1000))
def test_offsets_of_an_attempt_increase_as_bytes(offset: Offset, step: int) -> None:
    if offset.seq + step >= 10**10:
        return
    later = Offset(offset.attempt, offset.seq + step, offset.nonce)
    assert str(offset).encode() < str(later).encode()


@given(offsets, offsets)
def test_a_later_attempts_offsets_are_greater(one: Offset, other: Offset) -> None:
    if one.attempt < other.attempt:
        assert str(one).encode() < str(other).encode()


@given(offsets)
def test_nothing_needs_escaping_in_a_url(offset: Offset) -> None:
    assert not set(str(offset)) & set(",&=?/ %#")


@pytest.mark.parametrize(
    "text",
    ["", "0", "x", "-1", "now", "000001_0000000001_", "000001_0000000001_GGGGGGGG",
     "000001_0000000001_aaaaaaaa\n", "١٢٣٤٥٦_0000000001_aaaaaaaa", "1_1_aaaaaaaa", "a" * 10_000],
)  # fmt: skip
def test_malformed(text: str) -> None:
    with pytest.raises(MalformedOffsetError, match="malformed offset"):
        Offset.parse(text)


def test_nonces_differ() -> None:
    assert len({new_nonce() for _ in range(100)}) == 100


ONE = Segment(1, "aaaaaaaa", 10)
TWO = Segment(2, "bbbbbbbb", 20)


@pytest.mark.parametrize(
    ("offset", "segments", "ended", "verdict"),
    [
        (Offset(1, 0, "aaaaaaaa"), (ONE,), False, Verdict.VALID),
        (Offset(1, 10, "aaaaaaaa"), (ONE,), True, Verdict.VALID),
        # The tail is lost; the producer is about to send it again.
        (Offset(1, 11, "aaaaaaaa"), (ONE,), False, Verdict.VALID),
        (Offset(1, 11, "aaaaaaaa"), (ONE,), True, Verdict.GONE),
        # The attempt itself is lost.
        (Offset(2, 5, "bbbbbbbb"), (ONE,), False, Verdict.VALID),
        (Offset(2, 5, "bbbbbbbb"), (ONE,), True, Verdict.GONE),
        # The same number, other bytes.
        (Offset(1, 5, "ffffffff"), (ONE,), False, Verdict.SUPERSEDED),
        # Begun anew.
        (Offset(1, 5, "aaaaaaaa"), (TWO,), False, Verdict.SUPERSEDED),
        (Offset(1, 0, "aaaaaaaa"), (TWO,), True, Verdict.SUPERSEDED),
        # Continued: what the earlier attempt wrote stands.
        (Offset(1, 5, "aaaaaaaa"), (ONE, TWO), False, Verdict.VALID),
        (Offset(1, 10, "aaaaaaaa"), (ONE, TWO), False, Verdict.VALID),
        (Offset(1, 11, "aaaaaaaa"), (ONE, TWO), False, Verdict.SUPERSEDED),
        (Offset(2, 15, "bbbbbbbb"), (ONE, TWO), True, Verdict.VALID),
    ],
)
def test_what_an_offset_means(
    offset: Offset, segments: tuple[Segment, ...], ended: bool, verdict: Verdict
) -> None:
    assert judge(offset, segments, ended) is verdict
