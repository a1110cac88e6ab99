"""A run of a log's entries, and its frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstraight_celery.relays.requests import Entry
from streamstraight_celery.server.live.window import FRAME_BYTES, SEND_BYTES, Window, merge


def entry(first: int, last: int) -> Entry:
    return Entry(first, last, b"\n".join(b"%d" % number for number in range(first, last + 1)))


def numbers(entries: list[Entry]) -> list[int]:
    return [int(line) for each in entries for line in each.data.split(b"\n")]


def test_entries_without_a_gap_are_added() -> None:
    window = Window()
    assert window.append(entry(1, 3))
    assert window.append(entry(4, 4))
    assert window.last == 4


def test_a_gap_is_refused() -> None:
    window = Window(0, [entry(1, 3)])
    assert not window.append(entry(5, 6))
    assert window.last == 3


def test_an_overlap_is_cut() -> None:
    window = Window(0, [entry(1, 3)])
    assert window.append(entry(2, 5))
    assert numbers(window.entries) == [1, 2, 3, 4, 5]


def test_what_is_known_is_left_out() -> None:
    window = Window(0, [entry(1, 3)])
    assert window.append(entry(2, 3))
    assert numbers(window.entries) == [1, 2, 3]


def test_extend_says_whether_anything_was_new() -> None:
    window = Window(2)
    assert not window.extend([entry(1, 2)])
    assert not window.extend([entry(4, 4)])
    assert window.extend([entry(1, 3), entry(4, 6), entry(8, 8)])
    assert window.last == 6


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=20),
    seq=st.integers(0, 100),
    limit=st.integers(1, 50),
)
def test_reading_on_from_any_place_gives_the_rest(sizes: list[int], seq: int, limit: int) -> None:
    window, last = Window(), 0
    for size in sizes:
        window.append(entry(last + 1, last + size))
        last += size
    got: list[int] = []
    at = seq
    while some := list(window.after(at, limit)):
        got += numbers(some)
        at = some[-1].last
    assert got == list(range(seq + 1, last + 1))


def test_trimming_drops_the_oldest() -> None:
    window = Window()
    for number in range(1, 101):
        window.append(Entry(number, number, b"x" * 100))
        window.trim(1000)
        assert window.size <= 1250
        assert window.size == sum(len(each.data) for each in window.entries)
    assert window.base == window.entries[0].first - 1
    assert window.last == 100


def test_an_entry_larger_than_the_window_is_kept() -> None:
    window = Window(0, [Entry(1, 1, b"x" * 5000)])
    window.trim(1000)
    assert window.last == 1
    assert window.base == 0
    assert list(window.after(0, 1))


def test_entries_are_merged_into_frames_of_bounded_size() -> None:
    entries = [Entry(number, number, b"x" * 10_000) for number in range(1, 41)]
    merged = list(merge(entries, FRAME_BYTES))
    assert merged[0].first == 1
    assert merged[-1].last == 40
    assert all(len(each.data) <= FRAME_BYTES for each in merged)
    assert len(merged) == 14


def test_one_send_is_bounded() -> None:
    window = Window(0, [Entry(number, number, b"x" * 10_000) for number in range(1, 101)])
    data, seq = window.encode(0, lambda each: each.data)
    assert SEND_BYTES <= len(data) < SEND_BYTES + 20_000
    assert seq == 7


@pytest.mark.parametrize("place", [0, 1, 2])
def test_frames_of_one_live_entry_are_not_copied(place: int) -> None:
    window = Window(0, [entry(number, number) for number in (1, 2, 3)])
    frames: list[bytes] = []

    def encode(each: Entry) -> bytes:
        frames.append(each.data + b"!")
        return frames[-1]

    data, seq = window.encode(2, encode)
    assert seq == 3
    assert data is frames[0]
