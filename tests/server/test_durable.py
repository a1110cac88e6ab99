"""The protocol's logic, without a server: requests and states in, decisions and responses out."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstraight_celery.offsets import Offset, Verdict
from streamstraight_celery.relays.requests import Entry
from streamstraight_celery.server.http import Refused, Request, accepts, matches
from streamstraight_celery.server.live.position import Position
from streamstraight_celery.server.reads import durable
from streamstraight_celery.server.reads.durable import parse_read

from .test_feed import STATE

OFFSET = "000001_0000000003_aaaaaaaa"
LATER = "000001_0000000005_aaaaaaaa"
ENTRIES = (Entry(1, 2, b'{"n":1}\n{"n":2}'), Entry(3, 3, b'"three"'))


def request(query: str = "", method: str = "GET", **headers: str) -> Request:
    return Request(
        method, "/v1/stream/x", query, {k.replace("_", "-"): v for k, v in headers.items()}
    )


@pytest.mark.parametrize(
    ("query", "headers", "live", "asked"),
    [
        ("", {}, "", "-1"),
        ("offset=-1", {}, "", "-1"),
        ("offset=now", {}, "", "now"),
        (f"offset={OFFSET}", {}, "", OFFSET),
        (f"live=sse&offset={OFFSET}", {}, "sse", OFFSET),
        (f"offset={OFFSET}&live=long-poll", {}, "long-poll", OFFSET),
        ("live=sse", {"last_event_id": LATER}, "sse", LATER),
        (f"live=sse&offset={OFFSET}", {"last_event_id": LATER}, "sse", LATER),
        ("live=sse&offset=-1", {"last_event_id": ""}, "sse", "-1"),
        # Only an EventSource sends it, and only for SSE.
        (f"offset={OFFSET}", {"last_event_id": LATER}, "", OFFSET),
        (f"live=long-poll&offset={OFFSET}", {"last_event_id": LATER}, "long-poll", OFFSET),
        ("offset=-1&other=1&token=abc", {}, "", "-1"),
    ],
)
def test_reads_are_understood(query: str, headers: Any, live: str, asked: str) -> None:
    call = parse_read(request(query, **headers))
    assert call.live == live
    assert str(call.asked) == asked


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("live=sse", {}),
        ("live=long-poll", {}),
        ("live=yes&offset=-1", {}),
        ("live=&offset=-1", {}),
        ("live=SSE&offset=-1", {}),
        ("offset=", {}),
        ("offset=0", {}),
        ("offset=1_2", {}),
        ("offset=../../etc", {}),
        (f"offset={OFFSET}%0a", {}),
        ("offset=-1&offset=-1", {}),
        ("offset=-1&live=sse&live=sse", {}),
        ("live=sse&offset=-1&token=a&token=b", {}),
        ("live=sse&offset=-1", {"last_event_id": "nonsense"}),
        ("&".join(f"a{number}=1" for number in range(40)), {}),
    ],
)
def test_malformed_reads_are_refused(query: str, headers: Any) -> None:
    with pytest.raises(Refused) as refused:
        parse_read(request(query, **headers))
    assert refused.value.status == 400
    assert json.loads(refused.value.reply().body)["error"]["message"]


@given(st.text(max_size=200))
def test_a_query_is_understood_or_refused(query: str) -> None:
    with contextlib.suppress(Refused):
        parse_read(request(query))


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        (Offset(1, 4, "bbbbbbbb"), 410, "superseded"),
        (Offset(1, 9, "aaaaaaaa"), 410, "gone"),
        (Offset(2, 1, "bbbbbbbb"), 410, "gone"),
    ],
)
def test_places_that_are_not_there(asked: Offset, status: int, code: str) -> None:
    state = replace(STATE, last=5, end="completed")
    with pytest.raises(Refused) as refused:
        durable.position_of(durable.ReadCall("", asked), state)
    reply = refused.value.reply()
    assert reply.status == status
    body = json.loads(reply.body)
    assert body["error"]["code"] == code
    assert body["attempt"] == 1


def catch_up(
    query: str, *, at: int = 0, last: int = 3, end: str = "", entries: Any = ENTRIES
) -> Any:
    call = parse_read(request(query))
    state = replace(STATE, last=last, end=end)
    batch = durable.batch_of(Position(at), state, entries)
    return durable.catch_up_reply(call, batch, "7")


def test_a_catch_up_of_everything() -> None:
    reply = catch_up("offset=-1")
    headers = dict(reply.headers)
    assert reply.status == 200
    assert json.loads(reply.body) == [{"n": 1}, {"n": 2}, "three"]
    assert headers["stream-next-offset"] == OFFSET
    assert headers["stream-up-to-date"] == "true"
    assert headers["stream-cursor"] == "7"
    assert "stream-closed" not in headers
    assert "no-cache" in headers["cache-control"]
    assert "private" in headers["cache-control"]


def test_a_part_is_neither_up_to_date_nor_closed() -> None:
    headers = dict(catch_up("offset=-1", last=9, end="completed").headers)
    assert headers["stream-next-offset"] == OFFSET
    assert "stream-up-to-date" not in headers
    assert "stream-closed" not in headers
    assert "stream-end-reason" not in headers


def test_the_last_part_of_a_closed_stream() -> None:
    headers = dict(catch_up("offset=-1", end="producer-error").headers)
    assert headers["stream-closed"] == "true"
    assert headers["stream-end-reason"] == "producer-error"


def test_nothing_at_the_tail() -> None:
    reply = catch_up(f"offset={OFFSET}", at=3, entries=(), end="completed")
    headers = dict(reply.headers)
    assert reply.body == b"[]"
    assert headers["stream-next-offset"] == OFFSET
    assert headers["stream-closed"] == "true"


def test_etags_tell_parts_and_ends_apart() -> None:
    tags = [
        dict(reply.headers)["etag"]
        for reply in (
            catch_up("offset=-1"),
            catch_up("offset=-1", end="completed"),
            catch_up(f"offset={OFFSET}", at=3, entries=()),
            catch_up("offset=-1", entries=ENTRIES[:1]),
        )
    ]
    assert len(set(tags)) == 4
    assert all(tag.startswith('"') and tag.endswith('"') for tag in tags)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ("*", True),
        ('"b"', False),
        ("", False),
        ("a", False),
    ],
)
def test_if_none_match(header: str, expected: bool) -> None:
    assert matches(header, '"a"') is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("deflate", True), ("gzip, Deflate;q=0.5, br", True), ("gzip;q=1.0,deflate ; q=1", True),
        ("", False), ("gzip, br", False), ("*", False), ("deflate;q=0", False),
        ("deflate; q=0.000", False), ("identity", False), ("deflated", False),
    ],
)  # fmt: skip
def test_accept_encoding(header: str, expected: bool) -> None:
    assert accepts(header, "deflate") is expected


def test_long_poll_without_news() -> None:
    batch = durable.batch_of(Position(3), replace(STATE, last=3), ())
    reply = durable.long_poll_reply(batch, "7")
    headers = dict(reply.headers)
    assert (reply.status, reply.body) == (204, b"")
    assert headers["stream-up-to-date"] == "true"
    assert headers["stream-next-offset"] == OFFSET
    assert headers["stream-cursor"] == "7"


def test_head() -> None:
    headers = dict(durable.head_reply(replace(STATE, last=3, end="stopped")).headers)
    assert headers["stream-next-offset"] == OFFSET
    assert headers["stream-closed"] == "true"
    assert headers["stream-end-reason"] == "stopped"


@pytest.mark.parametrize("reason", ["gr\u00fcn", "two\r\nlines", "\ud83d"])
def test_a_reason_that_is_no_header_is_not_sent_as_one(reason: str) -> None:
    headers = dict(durable.head_reply(replace(STATE, end=reason)).headers)
    assert headers["stream-end-reason"] == "unknown"


NOW = durable.CURSOR_EPOCH + 20 * 1000 + 5


@pytest.mark.parametrize(
    ("asked", "jitter", "expected"),
    [
        ("", 100, "1000"),
        ("999", 100, "1000"),
        ("1000", 1, "1001"),
        ("1000", 3600, "1180"),
        ("5000", 40, "5002"),
        ("nonsense", 40, "1000"),
        ("-5", 40, "1000"),
        ("\u0663", 40, "1000"),
        ("9" * 400, 40, "1000"),
    ],
)
def test_cursors_never_go_backwards(asked: str, jitter: float, expected: str) -> None:
    assert durable.cursor_for(asked, NOW, jitter) == expected


def test_sse_has_exactly_its_content_type() -> None:
    assert dict(durable.sse_headers())["content-type"] == "text/event-stream"


def test_a_superseded_offset_says_what_to_do() -> None:
    refused = durable.refused_position(Verdict.SUPERSEDED, 3)
    assert refused.status == 410
    assert "start" in str(refused)
    assert json.loads(refused.reply().body)["attempt"] == 3
