"""What a relay process knows of one stream: notices and pages in, frames out, no I/O."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from streamstraight_celery.offsets import Offset, Segment, Verdict
from streamstraight_celery.relays.base import Notice, Page, StreamState
from streamstraight_celery.relays.requests import Entry
from streamstraight_celery.server.live.feed import Feed
from streamstraight_celery.server.live.position import Position
from streamstraight_celery.server.live.reader import Reader
from streamstraight_celery.server.reads.durable_frames import DurableFrames

NONCE = "aaaaaaaa"
DOOR = DurableFrames(lambda: "7")
STATE = StreamState(
    attempt=1, nonce=NONCE, last=0, lineage=(), end="", error="", stop_asked=False, released=False,
    owner="", kind="json", size=0, lease_left=10_000, now=0, created=0, first_chunk=0, ended=0,
)  # fmt: skip


def entry(first: int, last: int) -> Entry:
    return Entry(first, last, b"\n".join(b"%d" % number for number in range(first, last + 1)))


def page(last: int, *entries: Entry, **changes: Any) -> Page:
    return Page(replace(STATE, last=last, **changes), entries)


def notice(first: int, last: int, *, attempt: int = 1, nonce: str = NONCE, end: str = "") -> Notice:
    data = entry(first, last).data if last >= first else b""
    return Notice(attempt, nonce, first, last, end, data)


def read(feed: Feed, answer: Page | None, now: float = 0.0) -> bool:
    """The feed reads on from where it is."""
    return feed.absorb(feed.read_after(feed.last), answer, now)


def new_feed(*entries: Entry, **changes: Any) -> Feed:
    """A feed that has read these entries."""
    feed = Feed("s", 0.0, window_bytes=1000, lease=10.0, patience=40.0, soon=lambda call: call())
    assert not read(feed, page(entries[-1].last if entries else 0, *entries, **changes))
    return feed


def reader_of(feed: Feed, asked: Any = "-1") -> Reader:
    place = feed.locate(asked)
    assert isinstance(place, Position)
    reader = Reader(feed, place, DOOR)
    feed.readers.add(reader)
    return reader


def test_contiguous_notices_are_added_without_reading() -> None:
    feed = new_feed()
    assert not feed.hear(notice(1, 2), 0)
    assert not feed.hear(notice(3, 3), 0)
    assert feed.last == 3


def test_an_overlapping_notice_is_cut() -> None:
    feed = new_feed(entry(1, 3))
    assert not feed.hear(notice(2, 5), 0)
    assert [each.first for each in feed.window.entries] == [1, 4]


def test_an_old_notice_changes_nothing() -> None:
    feed = new_feed(entry(1, 3))
    assert not feed.hear(notice(1, 2), 0)
    assert feed.last == 3


@pytest.mark.parametrize(
    "heard",
    [
        notice(5, 6),
        notice(5, 4),
        notice(4, 4, end="completed"),
        notice(4, 3, end="completed"),
        notice(1, 0, attempt=2, nonce="bbbbbbbb"),
        notice(4, 4, nonce="bbbbbbbb"),
    ],
    ids=["gap", "gap without data", "end with data", "end", "new attempt", "other nonce"],
)
def test_what_a_notice_leaves_open_is_read(heard: Notice) -> None:
    feed = new_feed(entry(1, 3))
    assert feed.hear(heard, 0)


def test_the_page_that_fills_a_gap() -> None:
    feed = new_feed(entry(1, 3))
    assert feed.hear(notice(5, 6), 0)
    assert feed.last == 3
    assert not read(feed, page(6, entry(4, 4), entry(5, 6)))
    assert feed.last == 6


def test_a_page_older_than_what_was_heard_meanwhile_is_no_loss() -> None:
    feed = new_feed(entry(1, 3))
    asked = feed.read_after(3)
    feed.hear(notice(4, 5), 0)
    assert not feed.absorb(asked, page(3), 0)
    assert feed.lost_since is None
    assert feed.last == 5


def test_a_page_that_is_not_all_asks_for_more() -> None:
    feed = new_feed()
    assert read(feed, page(6, entry(1, 2)))
    assert not read(feed, page(6, entry(3, 6)))


def test_readers_at_one_place_get_one_object() -> None:
    feed = new_feed(entry(1, 3))
    frames = {id(feed.take(reader_of(feed), feed.window)) for _ in range(10)}
    chunked = {id(feed.take(reader_of(feed), feed.window, chunked=True)) for _ in range(10)}
    assert len(frames) == len(chunked) == 1


def test_a_frame_says_whether_it_is_the_newest() -> None:
    feed = new_feed(entry(1, 1))
    reader = reader_of(feed)
    assert b'"upToDate":true' in feed.take(reader, feed.window)
    feed.hear(notice(2, 2), 0)
    late = reader_of(feed)
    assert feed.take(late, feed.window).count(b"upToDate") == 1
    assert late.seq == 2


def test_the_end_is_in_the_last_frame() -> None:
    feed = new_feed(entry(1, 1))
    assert feed.hear(notice(2, 2, end="completed"), 0)
    reader = reader_of(feed)
    assert b"streamClosed" not in feed.take(reader, feed.window)
    assert not read(feed, page(2, end="completed"))
    late = reader_of(feed)
    data = feed.take(late, feed.window)
    assert b'"streamClosed":true,"endReason":"completed"' in data
    assert feed.ended_at(late.seq)
    assert not feed.hear(notice(3, 3), 0)


def test_a_log_that_is_shorter_than_what_readers_have_is_waited_for() -> None:
    feed = new_feed(entry(1, 5))
    reader = reader_of(feed)
    feed.take(reader, feed.window)
    assert not read(feed, page(2), now=1)
    assert feed.lost_since == 1
    feed.hear(notice(3, 4), 2)
    assert feed.last == 5
    assert feed.lost_since == 1
    feed.hear(notice(5, 6), 3)
    assert feed.lost_since is None
    assert b"data:[6]" in feed.take(reader, feed.window)


@pytest.mark.parametrize(
    "lost",
    [None, page(2), page(9, attempt=0, nonce="")],
    ids=["vanished", "shorter", "older attempt"],
)
def test_what_nobody_sends_again_is_gone(lost: Page | None) -> None:
    feed = new_feed(entry(1, 5))
    reader = reader_of(feed)
    for now in (1, 20, 40):
        read(feed, lost, now)
        feed.tick(now)
        assert reader.verdict is Verdict.VALID
    feed.tick(41.5)
    assert reader.verdict is Verdict.GONE
    assert feed.over
    assert feed.locate("-1") is Verdict.GONE


def test_an_ended_log_that_is_shorter_is_gone_at_once() -> None:
    feed = new_feed(entry(1, 5))
    reader = reader_of(feed)
    read(feed, page(2, end="stopped"))
    assert reader.verdict is Verdict.GONE


def test_a_state_without_its_log_is_a_loss() -> None:
    feed = new_feed(entry(1, 2))
    assert not read(feed, page(9), now=1)
    assert feed.lost_since == 1
    assert not read(feed, page(9, entry(3, 9)), now=2)
    assert feed.lost_since is None


def test_a_hole_in_the_log_is_a_loss() -> None:
    feed = new_feed(entry(1, 2))
    assert not read(feed, page(9, entry(5, 9)), now=1)
    assert feed.lost_since == 1
    assert feed.last == 2


def test_a_new_attempt_supersedes_readers() -> None:
    feed = new_feed(entry(1, 5))
    old, fresh = reader_of(feed), reader_of(feed)
    feed.take(old, feed.window)
    assert read(feed, page(2, attempt=2, nonce="bbbbbbbb"))
    assert old.verdict is Verdict.SUPERSEDED
    assert fresh.verdict is Verdict.VALID
    assert not read(feed, page(2, entry(1, 2), attempt=2, nonce="bbbbbbbb"))
    taken = feed.take(fresh, feed.window)
    assert b"data:[1]\n" in taken
    assert b"data:[2]\n" in taken


def test_another_nonce_supersedes_readers_too() -> None:
    feed = new_feed(entry(1, 5))
    reader = reader_of(feed)
    feed.take(reader, feed.window)
    read(feed, page(7, nonce="bbbbbbbb"))
    assert reader.verdict is Verdict.SUPERSEDED


def test_a_resumed_attempt_goes_on() -> None:
    feed = new_feed(entry(1, 5))
    reader = reader_of(feed)
    feed.take(reader, feed.window)
    lineage = (Segment(1, NONCE, 5),)
    assert not read(feed, page(6, entry(6, 6), attempt=2, nonce="bbbbbbbb", lineage=lineage))
    assert reader.verdict is Verdict.VALID
    assert b"id: 000002_0000000006_bbbbbbbb\ndata:[6]" in feed.take(reader, feed.window)
    assert feed.read_after(3).attempt == 1
    assert feed.read_after(6).attempt == 2


def test_a_resumed_attempt_that_lost_the_tail_supersedes_those_who_have_it() -> None:
    feed = new_feed(entry(1, 3), entry(4, 5))
    ahead, behind = reader_of(feed), reader_of(feed)
    feed.take(ahead, feed.window)
    behind.seq = 2
    lineage = (Segment(1, NONCE, 3),)
    turned = {"attempt": 2, "nonce": "bbbbbbbb", "lineage": lineage}
    assert read(feed, page(4, **turned))
    assert ahead.verdict is Verdict.SUPERSEDED
    assert behind.verdict is Verdict.VALID
    assert not read(feed, page(4, entry(1, 3), entry(4, 4), **turned))
    assert b"data:[3,4]" in feed.take(behind, feed.window)


def test_a_reader_of_a_lost_attempt_waits_for_it() -> None:
    feed = new_feed(entry(1, 5))
    reader = reader_of(feed, Offset(2, 3, "bbbbbbbb"))
    assert reader.ahead is not None
    assert read(feed, page(4, attempt=2, nonce="bbbbbbbb"))
    assert reader.ahead is None
    assert reader.seq == 3
    assert not read(feed, page(4, entry(1, 4), attempt=2, nonce="bbbbbbbb"))
    assert b"data:[4]" in feed.take(reader, feed.window)


def test_a_reader_of_a_lost_attempt_that_another_replaced_is_told() -> None:
    feed = new_feed(entry(1, 5))
    reader = reader_of(feed, Offset(2, 3, "bbbbbbbb"))
    read(feed, page(1, attempt=2, nonce="cccccccc"))
    assert reader.verdict is Verdict.SUPERSEDED


def test_a_reader_beyond_the_end_of_an_ended_stream_is_told() -> None:
    feed = new_feed(entry(1, 2))
    reader = reader_of(feed, Offset(1, 5, NONCE))
    read(feed, page(2, end="stopped"))
    assert reader.verdict is Verdict.GONE


def test_a_log_larger_than_the_window_is_left_where_it_is() -> None:
    feed = new_feed(entry(1, 400), size=5000)
    assert feed.last == feed.window.base == 400
    assert not feed.window.entries
    assert not feed.hear(notice(401, 401), 0)
    assert feed.window.base == 400


def test_a_silent_producer_is_stalled_until_it_writes() -> None:
    feed = new_feed()
    for now in (5, 9, 11, 12):
        feed.tick(now)
        assert feed.status == ("running" if now < 10 else "stalled")
    feed.hear(notice(1, 1), 13)
    feed.tick(14)
    assert feed.status == "running"
    feed.tick(24)
    assert feed.status == "stalled"


def test_a_suspended_stream_waits() -> None:
    feed = new_feed()
    read(feed, page(0, released=True, suspended=True, lease_left=600_000))
    feed.tick(300)
    assert feed.status == "waiting"
    read(feed, page(0, released=True))
    assert feed.status == "queued"


def test_a_stream_without_a_producer_is_queued() -> None:
    feed = new_feed(attempt=0, nonce="")
    feed.tick(11)
    assert feed.status == "queued"
    read(feed, page(0))
    assert feed.status == "running"
    read(feed, page(0, released=True))
    assert feed.status == "queued"


def test_a_stream_written_over_http_never_waits() -> None:
    feed = new_feed(attempt=0, nonce="", http_written=True)
    feed.tick(11)
    assert feed.status == "running"


def test_pages_grow_to_about_a_megabyte() -> None:
    feed = new_feed()
    assert feed.read_after(0).limit == 256
    read(feed, page(2, Entry(1, 1, b"x" * 1000), Entry(2, 2, b"x" * 1000)))
    assert feed.read_after(2).limit == 1048


def test_what_is_gone_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    feed = new_feed(entry(1, 1))
    read(feed, None)
    for second in range(100, 110):
        feed.tick(second)
    assert feed.gone
    assert caplog.text.count("was lost and not re-sent") == 1
