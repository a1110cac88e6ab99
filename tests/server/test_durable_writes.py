"""Requests that write, without a server: headers in, relay requests and replies out."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstraight_celery.relays.requests import Answer, Open, Write
from streamstraight_celery.server.content import BYTES, JSON
from streamstraight_celery.server.http import Refused, Reply, Request
from streamstraight_celery.server.writes.durable_writes import (
    MAX_NAME,
    MAX_TTL,
    Limits,
    delete_reply,
    open_reply,
    parse_open,
    parse_write,
    write_reply,
)

LIMITS = Limits(100, 400)
LARGEST = 2**53 - 1
PLACE = "000001_0000000002_aaaaaaaa"


def request(method: str, headers: dict[str, str]) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, "/v1/stream/s", "", named)


def opened(body: bytes = b"", **headers: str) -> Open:
    return parse_open("s", request("PUT", headers), body, LIMITS)


def written(body: bytes = b"", **headers: str) -> Write:
    return parse_write("s", request("POST", headers), body, LIMITS)


def refusal(parse: Any, *args: Any, **headers: str) -> Refused:
    with pytest.raises(Refused) as refused:
        parse(*args, **headers)
    return refused.value


class TestPut:
    def test_says_nothing_of_its_content(self) -> None:
        call = opened()
        assert (call.content_type, call.kind, call.count, call.data, call.end) == (
            BYTES, "bytes", 0, b"", "",
        )  # fmt: skip
        assert (call.ttl, call.expires_at) == (None, None)
        assert len(call.nonce) == 8

    def test_json(self) -> None:
        call = opened(b'[1,\n{"a":2}]', content_type="application/JSON; charset=utf-8")
        assert (call.content_type, call.kind, call.count) == (JSON, "json", 2)
        assert call.data == b'1\n{"a":2}'

    def test_an_empty_array_is_an_empty_stream(self) -> None:
        assert opened(b"[]", content_type=JSON).count == 0

    def test_closed_at_once(self) -> None:
        assert opened(stream_closed="True").end == "completed"
        assert opened(stream_closed="true", stream_end_reason="producer-error").end == (
            "producer-error"
        )
        assert opened(stream_closed="false").end == ""
        assert opened(stream_closed="1").end == ""

    @pytest.mark.parametrize(("ttl", "ms"), [("0", 0), ("1", 1000), (str(MAX_TTL), MAX_TTL * 1000)])
    def test_time_to_live(self, ttl: str, ms: int) -> None:
        assert opened(stream_ttl=ttl).ttl == ms

    @pytest.mark.parametrize(
        "ttl",
        ["", "-1", "+1", "01", "1.0", "1e3", " 1", "0x1", "1_0", "\xb2", "\u0661",
         str(MAX_TTL + 1), str(2**53), "9" * 400, "abc"],
    )  # fmt: skip
    def test_no_time_to_live(self, ttl: str) -> None:
        assert refusal(opened, stream_ttl=ttl).status == 400

    @pytest.mark.parametrize(
        ("instant", "ms"),
        [
            ("2030-01-31T12:00:00Z", 1_896_091_200_000),
            ("2030-01-31t12:00:00z", 1_896_091_200_000),
            ("2030-01-31T12:00:00.5Z", 1_896_091_200_500),
            ("2030-01-31T12:00:00.123456789Z", 1_896_091_200_123),
            ("2030-01-31T14:00:00+02:00", 1_896_091_200_000),
            ("2030-01-31T07:30:00-04:30", 1_896_091_200_000),
            ("1950-01-01T00:00:00Z", 0),
            ("0001-01-01T00:00:00Z", 0),
            ("9999-12-31T23:59:59Z", 253_402_300_799_000),
        ],
    )
    def test_end_of_life(self, instant: str, ms: int) -> None:
        assert opened(stream_expires_at=instant).expires_at == ms

    @pytest.mark.parametrize(
        "instant",
        ["", "now", "2030-01-31", "2030-01-31T12:00:00", "2030-02-31T12:00:00Z", "1896091200",
         "2030-01-31T25:00:00Z", "2030-01-31T12:00:60Z", "2030-01-31T12:00:00.Z",
         "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "2030-01-31T12:00:00+0200",
         "2030-01-31 12:00:00Z", "2030-01-31T12:00:00Z\n", "\u0662030-01-31T12:00:00Z"],
    )  # fmt: skip
    def test_no_end_of_life(self, instant: str) -> None:
        assert refusal(opened, stream_expires_at=instant).status == 400

    def test_not_both(self) -> None:
        both = {"stream_ttl": "1", "stream_expires_at": "2030-01-31T12:00:00Z"}
        assert refusal(opened, **both).status == 400

    def test_the_same_configuration_is_the_same(self) -> None:
        same = opened(content_type=JSON, stream_ttl="5").config
        assert opened(b"[1]", content_type="Application/json;a=b", stream_ttl="5").config == same
        assert opened(content_type=JSON, stream_ttl="6").config != same
        assert opened(stream_ttl="5").config != same
        assert opened(content_type=JSON).config != same

    @pytest.mark.parametrize(
        ("body", "headers", "status"),
        [
            (b"", {"content_type": "nonsense"}, 400),
            (b"nonsense", {"content_type": JSON}, 400),
            (b'"%b"' % (b"x" * 99), {"content_type": JSON}, 413),
            (b"", {"stream_closed": "true", "stream_end_reason": "gone"}, 400),
        ],
    )
    def test_what_is_refused(self, body: bytes, headers: dict[str, str], status: int) -> None:
        assert refusal(opened, body, **headers).status == status

    def test_replies(self) -> None:
        call = opened(content_type=JSON)
        created = open_reply(call, Answer("ok", reason=f"{PLACE} -"), "https://x/s")
        assert created == Reply(
            201,
            (("location", "https://x/s"), ("content-type", JSON), ("stream-next-offset", PLACE)),
        )
        there = open_reply(call, Answer("duplicate", reason=f"{PLACE} stopped"), "https://x/s")
        assert there.status == 200
        assert dict(there.headers) == {
            "content-type": JSON, "stream-next-offset": PLACE, "stream-closed": "true",
            "stream-end-reason": "stopped",
        }  # fmt: skip
        for kind, status in (("exists", 409), ("too-large", 413)):
            with pytest.raises(Refused) as refused:
                open_reply(call, Answer(kind), "")  # type: ignore[arg-type]
            assert refused.value.status == status


class TestPost:
    def test_json(self) -> None:
        call = written(b"[1, [2]]", content_type=JSON)
        assert (call.content_type, call.count, call.data, call.end) == (JSON, 2, b"1\n[2]", "")
        assert (call.sequence, call.producer, call.epoch, call.number) == ("", "", 0, 0)

    def test_bytes(self) -> None:
        assert written(b"ab", content_type="text/plain").data == b'"YWI="'

    def test_closing(self) -> None:
        call = written(stream_closed="true")
        assert (call.end, call.count, call.content_type) == ("completed", 0, "")
        call = written(b"1", content_type=JSON, stream_closed="true", stream_end_reason="stopped")
        assert (call.end, call.count) == ("stopped", 1)

    def test_closing_ignores_a_type_without_a_body(self) -> None:
        assert written(stream_closed="true", content_type="text/plain").content_type == ""

    @pytest.mark.parametrize(
        ("body", "headers", "status"),
        [
            (b"", {}, 400),
            (b"", {"content_type": JSON}, 400),
            (b"1", {}, 400),
            (b"1", {"content_type": ""}, 400),
            (b"1", {"content_type": "json"}, 400),
            (b"[]", {"content_type": JSON}, 400),
            (b"[]", {"content_type": JSON, "stream_closed": "true"}, 400),
            (b"{", {"content_type": JSON}, 400),
            (b"[1,%b]" % (b"1" * 101), {"content_type": JSON}, 413),
            (b"", {"stream_closed": "false"}, 400),
            (b"1", {"content_type": JSON, "stream_seq": "x" * (MAX_NAME + 1)}, 400),
        ],
    )
    def test_what_is_refused(self, body: bytes, headers: dict[str, str], status: int) -> None:
        assert refusal(written, body, **headers).status == status

    def test_the_largest_message(self) -> None:
        assert written(b"[%b]" % (b"1" * 100), content_type=JSON).count == 1

    def test_a_producer(self) -> None:
        numbers = {"producer_epoch": str(LARGEST), "producer_seq": str(LARGEST)}
        call = written(b"1", content_type=JSON, producer_id="p \xe9", **numbers, stream_seq="a")
        assert (call.producer, call.epoch, call.number) == ("p \xe9", LARGEST, LARGEST)
        assert call.sequence == "a"

    @pytest.mark.parametrize("left_out", ["producer_id", "producer_epoch", "producer_seq"])
    def test_its_headers_belong_together(self, left_out: str) -> None:
        given = {"producer_id": "p", "producer_epoch": "0", "producer_seq": "0"}
        del given[left_out]
        assert refusal(written, stream_closed="true", **given).status == 400

    @pytest.mark.parametrize("header", ["producer_epoch", "producer_seq"])
    @pytest.mark.parametrize(
        "value", ["", "-1", "+1", "01", "1.5", "1e3", "x", str(LARGEST + 1), "1" * 99, " 1", "\xb2"]
    )
    def test_its_numbers_are_whole(self, header: str, value: str) -> None:
        given = {"producer_id": "p", "producer_epoch": "0", "producer_seq": "0", header: value}
        assert refusal(written, stream_closed="true", **given).status == 400

    @pytest.mark.parametrize("name", ["", "x" * (MAX_NAME + 1)])
    def test_its_name(self, name: str) -> None:
        given = {"producer_id": name, "producer_epoch": "0", "producer_seq": "0"}
        assert refusal(written, stream_closed="true", **given).status == 400

    @pytest.mark.parametrize(
        ("call", "answer", "status", "headers"),
        [
            ({}, Answer("ok", reason=f"{PLACE} -"), 204, {"stream-next-offset": PLACE}),
            (
                {"producer": "p", "epoch": 3},
                Answer("ok", 7, reason=f"{PLACE} -"), 200,
                {"stream-next-offset": PLACE, "producer-epoch": "3", "producer-seq": "7"},
            ),
            (
                {"producer": "p", "epoch": 3},
                Answer("duplicate", 9, reason=f"{PLACE} -"), 204,
                {"stream-next-offset": PLACE, "producer-epoch": "3", "producer-seq": "9"},
            ),
            (
                {"producer": "p", "count": 0, "end": "completed"},
                Answer("ok", 0, reason=f"{PLACE} completed"), 204,
                {
                    "stream-next-offset": PLACE, "producer-epoch": "0", "producer-seq": "0",
                    "stream-closed": "true", "stream-end-reason": "completed",
                },
            ),
        ],
    )  # fmt: skip
    def test_replies(
        self, call: dict[str, Any], answer: Answer, status: int, headers: dict[str, str]
    ) -> None:
        reply = write_reply(Write(stream_id="s", **{"count": 1, **call}), answer)
        assert (reply.status, dict(reply.headers), reply.body) == (status, headers, b"")

    @pytest.mark.parametrize(
        ("answer", "status", "code", "headers"),
        [
            (Answer("unknown"), 404, "not-found", {}),
            (Answer("deleted"), 410, "deleted", {}),
            (Answer("too-large"), 413, "too-large", {}),
            (Answer("epoch"), 400, "bad-request", {}),
            (Answer("fenced", 5), 403, "fenced", {"producer-epoch": "5"}),
            (
                Answer("gap", 2), 409, "gap",
                {"producer-expected-seq": "2", "producer-received-seq": "4"},
            ),
            (
                Answer("closed", reason=f"{PLACE} stopped"), 409, "closed",
                {
                    "stream-next-offset": PLACE, "stream-closed": "true",
                    "stream-end-reason": "stopped",
                },
            ),
            (Answer("type", reason=JSON), 409, "conflict", {}),
            (Answer("sequence"), 409, "conflict", {}),
            (Answer("held"), 409, "conflict", {}),
        ],
    )  # fmt: skip
    def test_refusals(
        self, answer: Answer, status: int, code: str, headers: dict[str, str]
    ) -> None:
        with pytest.raises(Refused) as refused:
            write_reply(Write(stream_id="s", producer="p", number=4), answer)
        assert (refused.value.status, refused.value.code) == (status, code)
        assert dict(refused.value.headers) == headers
        assert json.loads(refused.value.reply().body)["error"]["message"]


class TestDelete:
    def test_replies(self) -> None:
        assert delete_reply(Answer("ok", reason="source")) == Reply(204)
        for kind, status in (("unknown", 404), ("deleted", 410), ("held", 409)):
            with pytest.raises(Refused) as refused:
                delete_reply(Answer(kind))  # type: ignore[arg-type]
            assert refused.value.status == status


NAMES = [
    "content-type", "stream-ttl", "stream-expires-at", "stream-closed", "stream-end-reason",
    "stream-seq", "producer-id", "producer-epoch", "producer-seq",
]  # fmt: skip


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=30)), st.binary(max_size=40))
def test_anything_is_read_or_refused(headers: dict[str, str], body: bytes) -> None:
    for parse, method in ((parse_open, "PUT"), (parse_write, "POST")):
        asked = Request(method, "/v1/stream/s", "", headers)
        call = None
        with contextlib.suppress(Refused):
            call = parse("s", asked, body, LIMITS)
        if call is not None:
            assert call.data.count(b"\n") == max(0, call.count - 1)
