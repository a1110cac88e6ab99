"""Writing over HTTP, through a real server: who may, how much, and what readers see of it."""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64decode
from typing import Any

import pytest
import redis

from streamstraight_celery.server.access import COOKIE
from streamstraight_celery.server.writes import handlers as writing
from streamstraight_celery.server.writes.durable_writes import parse_write
from tests.support.proxy import Proxy, once
from tests.support.waiting import eventually_async as eventually

from .client import Client, read_chunk
from .conftest import MakeSite, Site
from .writer import JSON, Writer

APP = "https://app.example"
KEY = "an API key of some back end"
WRITES = ("PUT", "POST", "DELETE")
MODES = ("", "live=long-poll&offset=-1", "live=sse&offset=-1")


@pytest.fixture
async def site(make_site: MakeSite, any_relay_url: str) -> Site:
    return await make_site(
        any_relay_url, writing=True, api_keys=(KEY,), allowed_origins=(APP,), long_poll_timeout=5.0
    )


@pytest.fixture
async def redis_writing(make_site: MakeSite, redis_url: str) -> Site:
    return await make_site(redis_url, writing=True)


class TestWhoMay:
    async def test_nobody_while_it_is_off(self, make_site: MakeSite, redis_url: str) -> None:
        site = await make_site(redis_url, api_keys=(KEY,))
        writer = Writer(site)
        for token in (writer.token, KEY, ""):
            writer.token = token
            for method in WRITES:
                answer = await writer.send(method, "1")
                assert (answer.status, answer.code) == (405, "method-not-allowed")
                assert answer.headers["allow"] == "GET, HEAD, OPTIONS"

    async def test_other_methods_are_refused(self, site: Site) -> None:
        answer = await Writer(site).send("PATCH", "1")
        assert answer.status == 405
        assert answer.headers["allow"] == "GET, HEAD, PUT, POST, DELETE, OPTIONS"

    @pytest.mark.parametrize("method", WRITES)
    async def test_a_token_is_needed(self, site: Site, method: str) -> None:
        await Writer(site).put()
        writer = Writer(site)
        for token in ("", "nonsense", site.tokens.issue("s", scopes=["write"], ttl=-1)[0]):
            writer.token = token
            answer = await writer.send(method, "1")
            assert answer.status == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
        assert (await Writer(site).here()).json == []

    @pytest.mark.parametrize("method", WRITES)
    async def test_another_streams_token_and_no_stream_look_the_same(
        self, site: Site, method: str
    ) -> None:
        await Writer(site).put()
        other, reader = Writer(site, "other"), Writer(site, scopes=("read", "stop"))
        other.stream_id = "s"
        nothing = Writer(site, "nothing", scopes=("read",))
        answers = [await each.send(method, "1") for each in (other, reader, nothing)]
        assert {answer.status for answer in answers} == {404}
        assert len({answer.body for answer in answers}) == 1
        assert (await Writer(site).here()).json == []

    async def test_a_token_for_writing_does_not_read(self, site: Site) -> None:
        writer = Writer(site, scopes=("write",))
        assert (await writer.put("[1]")).status == 201
        assert (await writer.here()).status == 404

    async def test_an_api_key_counts_in_the_header_alone(self, site: Site) -> None:
        writer = Writer(site)
        writer.token = KEY
        assert (await writer.put("[1]")).status == 201
        assert (await writer.here()).json == [1]
        assert (await writer.post("2")).status == 204
        writer.token = ""
        path = "/v1/stream/s"
        for query, headers in (
            (f"?token={KEY.replace(' ', '+')}", {}),
            ("", {"Cookie": f"{COOKIE}={KEY}"}),
        ):
            given = {"Content-Type": JSON, "Origin": APP, **headers}
            assert (await writer.exchange("POST", path + query, "3", given)).status == 401
        writer.token = KEY
        assert (await writer.delete()).status == 204

    @pytest.mark.parametrize("method", WRITES)
    async def test_a_cookie_does_not_count_for_foreign_pages(self, site: Site, method: str) -> None:
        await Writer(site).put()
        writer = Writer(site)
        cookie, writer.token = f"{COOKIE}={writer.token}", ""
        for origin in ("https://evil.example", "null", ""):
            answer = await writer.send(method, "1", Cookie=cookie, Origin=origin)
            assert answer.status == 401
        assert (await Writer(site).here()).json == []
        answer = await writer.send(method, "1", Cookie=cookie, Origin=APP)
        assert answer.status in (200, 204)

    async def test_browsers_may_ask_to_write(self, site: Site) -> None:
        asks = {
            "Origin": APP,
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "producer-id, stream-closed, stream-end-reason",
        }
        answer = await Client(site.port).request("OPTIONS", "/v1/stream/s", asks)
        assert answer.status == 204
        assert "PUT" in answer.headers["access-control-allow-methods"]
        allowed = {
            name.strip().lower()
            for name in answer.headers["access-control-allow-headers"].split(",")
        }
        assert {
            "content-type", "authorization", "producer-id", "producer-epoch", "producer-seq",
            "stream-seq", "stream-ttl", "stream-expires-at", "stream-closed", "stream-end-reason",
            "stream-forked-from", "stream-fork-offset", "stream-fork-sub-offset",
        } <= allowed  # fmt: skip
        written = await Writer(site).put(Origin=APP)
        exposed = written.headers["access-control-expose-headers"].lower()
        assert all(
            name in exposed for name in ("location", "producer-expected-seq", "stream-closed")
        )

    async def test_a_workers_stream_is_the_workers(self, site: Site) -> None:
        producer = site.producer("s")
        producer.append(1)
        writer = Writer(site)
        for method in WRITES:
            assert (await writer.send(method, "2")).status == 409
        assert (await writer.close_stream()).status == 409
        assert not producer.append(2, end="completed").stop
        closed = await writer.post("3")
        assert (closed.status, closed.headers["stream-end-reason"]) == (409, "completed")
        assert (await writer.here()).json == [1, 2]
        assert (await writer.delete()).status == 204
        assert (await writer.here()).status == 404


class TestHowMuch:
    @pytest.fixture
    async def small(self, make_site: MakeSite, any_relay_url: str) -> Site:
        return await make_site(any_relay_url, writing=True, max_chunk_bytes=1000, max_bytes=3000)

    @pytest.mark.parametrize("chunked", [False, True])
    @pytest.mark.parametrize("method", ["PUT", "POST"])
    async def test_a_large_body_is_refused(self, small: Site, method: str, chunked: bool) -> None:
        writer = Writer(small)
        await writer.put("[1]")
        body, headers = json.dumps(["x" * 100] * 200), {}
        if chunked:
            headers = {"Transfer-Encoding": "chunked"}
            pieces = [body[start : start + 777] for start in range(0, len(body), 777)]
            body = "".join(f"{len(piece):x}\r\n{piece}\r\n" for piece in pieces) + "0\r\n\r\n"
        answer = await writer.send(method, body, **headers)
        assert (answer.status, answer.code) == (413, "too-large")
        assert (await writer.here()).json == [1]

    async def test_a_chunked_body_is_a_body(self, small: Site) -> None:
        writer = Writer(small)
        body = "4\r\n[1,2\r\n5\r\n,[3]]\r\n0\r\n\r\n"
        assert (await writer.put(body, **{"Transfer-Encoding": "chunked"})).status == 201
        assert (await writer.here()).json == [1, 2, [3]]

    async def test_a_large_message_is_refused(self, small: Site) -> None:
        writer = Writer(small)
        for method in ("PUT", "POST"):
            answer = await writer.send(method, json.dumps(["x" * 999]))
            assert (answer.status, answer.code) == (413, "too-large")
        assert (await writer.put(json.dumps(["x" * 998]))).status == 201

    async def test_a_full_stream_stays_open(self, small: Site) -> None:
        writer = Writer(small)
        await writer.put(json.dumps(["x" * 990] * 3))
        answer = await writer.close_stream(json.dumps("y" * 900))
        assert (answer.status, answer.code) == (413, "too-large")
        assert "stream-closed" not in (await writer.here()).headers
        assert (await writer.post("1")).status == 204
        assert (await writer.close_stream()).status == 204

    async def test_a_body_that_never_comes_changes_nothing(
        self, small: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        writer = Writer(small)
        await writer.put("[1]")
        for _ in range(3):
            _, there = await asyncio.open_connection("127.0.0.1", small.port)
            head = writer._request(
                "POST", "/v1/stream/s", {"Content-Type": JSON, "Content-Length": "9"}
            )
            there.write(head + b"[2]")
            await there.drain()
            there.close()
            await there.wait_closed()
        assert (await writer.post("3")).status == 204
        assert (await writer.here()).json == [1, 3]
        assert not [record for record in caplog.records if record.levelname == "ERROR"]


class TestReaders:
    @pytest.mark.parametrize("reason", ["completed", "producer-error", "stopped"])
    async def test_all_of_them_see_why_it_ended(self, site: Site, reason: str) -> None:
        writer = Writer(site)
        await writer.put("[1]")
        live = await writer.live()
        polls = asyncio.ensure_future(writer.here("live=long-poll&offset=now"))
        await live.until_chunks(1)
        await eventually(lambda: len(site.app.start().hub.feeds["s"].readers) == 2)
        answer = await writer.close_stream(Stream_End_Reason=reason)
        assert (answer.status, answer.headers["stream-end-reason"]) == (204, reason)
        assert answer.headers["stream-closed"] == "true"
        await live.until_end()
        assert (live.control["streamClosed"], live.control["endReason"]) == (True, reason)
        for headers in (
            (await polls).headers,
            (await writer.here()).headers,
            (await writer.here("live=long-poll&offset=-1")).headers,
            (await writer.request("HEAD", "/v1/stream/s")).headers,
        ):
            assert (headers["stream-closed"], headers["stream-end-reason"]) == ("true", reason)
        assert (await (await writer.live()).until_end()).control["endReason"] == reason

    async def test_an_unknown_reason_is_refused(self, site: Site) -> None:
        writer = Writer(site)
        await writer.put()
        assert (await writer.close_stream(Stream_End_Reason="because")).status == 400
        assert "stream-closed" not in (await writer.here()).headers

    async def test_they_read_while_others_write(self, site: Site) -> None:
        writer = Writer(site)
        await writer.put()
        live, offset, polled = await writer.live(), "-1", []
        for number in range(20):
            await writer.post(json.dumps([number, [number]]))
            answer = await writer.here(f"live=long-poll&offset={offset}")
            polled += answer.json
            offset = answer.headers["stream-next-offset"]
        await writer.close_stream('{"last": true}')
        await live.until_end()
        expected = [item for number in range(20) for item in (number, [number])]
        assert live.chunks == [*expected, {"last": True}]
        assert polled == expected
        assert live.control["streamNextOffset"] > offset

    async def test_many_writers_are_serialized(self, site: Site) -> None:
        writer = Writer(site)
        await writer.put()
        live = await writer.live()

        async def produce(name: int) -> None:
            for number in range(10):
                headers = {
                    "Producer_Id": f"p{name}", "Producer_Epoch": "0", "Producer_Seq": str(number),
                }  # fmt: skip
                for expected in (200, 204):
                    answer = await writer.post(json.dumps([[name, number]]), **headers)
                    assert answer.status == expected
                    assert answer.headers["producer-seq"] == str(number)

        await asyncio.gather(*(produce(name) for name in range(5)))
        await writer.close_stream()
        await live.until_end()
        assert live.chunks == (await writer.here()).json
        for name in range(5):
            assert [n for p, n in live.chunks if p == name] == list(range(10))

    async def test_a_delete_ends_them(self, site: Site) -> None:
        writer = Writer(site)
        await writer.put("[1]")
        live = await writer.live()
        await live.until_chunks(1)
        waits = asyncio.ensure_future(writer.here("live=long-poll&offset=now"))
        await eventually(lambda: len(site.app.start().hub.feeds["s"].readers) == 2)
        assert (await writer.delete()).status == 204
        await live.until_end()
        assert "streamClosed" not in live.control
        assert (await waits).status in (404, 410)
        for mode in MODES:
            assert (await writer.here(mode)).status in (404, 410)
        assert (await writer.delete()).status == 404

    async def test_a_new_stream_of_the_same_name_is_a_new_one(self, site: Site) -> None:
        writer = Writer(site)
        await writer.put("[1,2]")
        live = await writer.live()
        await live.until_chunks(2)
        old = live.offsets[-1]
        await writer.delete()
        assert (await writer.put("[3]")).status == 201
        assert (await live.until_end()).chunks == [1, 2]
        assert (await writer.here()).json == [3]
        again = await writer.live()
        assert await again.until_chunks(1) == [3]
        for mode in ("", "live=long-poll&", "live=sse&"):
            assert (await writer.here(f"{mode}offset={old}")).status == 410

    @pytest.mark.parametrize("mode", ["", "live=long-poll&", "live=sse&"])
    async def test_an_offset_that_nobody_will_ever_write_is_gone(
        self, site: Site, mode: str
    ) -> None:
        await Writer(site, "source").put("[1]")
        writer = Writer(site)
        writer.token = KEY
        forked = await writer.put("[2,3]", Stream_Forked_From="/v1/stream/source")
        await writer.delete()
        # The attempts of a fork are higher than those of a stream that is none.
        assert (await writer.put("[4,5,6,7]")).status == 201
        offset = forked.headers["stream-next-offset"]
        assert (await writer.here(f"{mode}offset={offset}")).status == 410

    @pytest.mark.parametrize("mode", ["", "live=long-poll&", "live=sse&"])
    async def test_what_redis_has_lost_is_told(
        self, redis_writing: Site, redis_url: str, mode: str
    ) -> None:
        writer = Writer(redis_writing)
        await writer.put("[1]")
        offset = (await writer.post("[2,3]")).headers["stream-next-offset"]
        with redis.Redis.from_url(redis_url) as direct:
            # As after a failover to a replica that was behind.
            direct.xtrim("ss:{s}:s", maxlen=0)
            direct.hset("ss:{s}:m", "q", 1)
        assert (await writer.here(f"{mode}offset={offset}")).status == 410

    async def test_an_offset_that_a_writer_was_told_is_good_at_once(self, site: Site) -> None:
        writer = Writer(site)
        await writer.put()
        live = await writer.live()
        await live.until_event("control")
        for number in range(10):
            offset = (await writer.post(f"[{number}]")).headers["stream-next-offset"]
            stream = await writer.live(offset)
            assert stream.status == 200
            await stream.close()

    async def test_text_keeps_its_lines(self, site: Site) -> None:
        writer = Writer(site)
        pieces = ["a line\n", " two\n\nthree: caf\xe9 \u2028", "\U0001f600 data: x\n"]
        await writer.put(pieces[0], "text/plain; charset=utf-8")
        for piece in pieces[1:]:
            assert (await writer.post(piece, "text/plain")).status == 204
        await writer.close_stream()
        answer = await writer.here()
        assert answer.headers["content-type"] == "text/plain"
        assert answer.body.decode() == "".join(pieces)
        events = await writer.raw_events()
        assert "".join("\n".join(data) for name, data in events if name == "data") == "".join(
            pieces
        )
        polled = await writer.here("live=long-poll&offset=-1")
        assert polled.body.decode() == "".join(pieces)

    async def test_bytes_keep_all_their_values(self, site: Site) -> None:
        writer = Writer(site)
        content = bytes(range(256)) * 2000  # several chunks
        await writer.put(content[:100], "application/octet-stream")
        live = await writer.open("/v1/stream/s?live=sse&offset=-1")
        assert live.headers["stream-sse-data-encoding"] == "base64"
        await writer.post(content[100:], "application/octet-stream")
        await writer.close_stream()
        assert (await writer.here()).body == content
        assert (await writer.here("live=long-poll&offset=-1")).body == content
        events = await writer.raw_events()
        assert (
            b"".join(b64decode("".join(data)) for name, data in events if name == "data") == content
        )

    async def test_a_fork_needs_a_token_for_its_source(self, site: Site) -> None:
        source, fork = Writer(site, "source"), Writer(site, "fork")
        await source.put("[1,2,3]")
        offset = (await source.here()).headers["stream-next-offset"]
        asked = {"Stream_Forked_From": "/v1/stream/source"}
        assert (await fork.put(**asked)).status == 404
        fork.token = KEY
        answer = await fork.put("[4]", **asked)
        assert answer.status == 201
        assert (await fork.here()).json == [1, 2, 3, 4]
        # The source's offsets mean the same in the fork, also its own end.
        assert (await fork.here(f"offset={offset}")).json == [4]
        assert (await fork.post("5")).status == 204
        assert (await source.here()).json == [1, 2, 3]
        assert (await source.delete()).status == 204
        assert (await source.here()).status == 410
        assert (await source.post("9")).status == 410
        assert (await fork.here()).json == [1, 2, 3, 4, 5]
        assert (await fork.delete()).status == 204
        assert (await source.here()).status == 404


class TestFaults:
    @pytest.mark.parametrize("method", WRITES)
    async def test_a_redis_that_is_down(
        self, make_site: MakeSite, unused_tcp_port: int, method: str
    ) -> None:
        site = await make_site(f"redis://user:hunter2@127.0.0.1:{unused_tcp_port}/0", writing=True)
        answer = await Writer(site).send(method, "1")
        assert (answer.status, answer.code) == (503, "relay-unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert b"hunter2" not in answer.body

    @pytest.mark.parametrize("numbered", [False, True])
    async def test_a_write_whose_answer_is_lost_is_never_sent_again_unseen(
        self, make_site: MakeSite, redis_url: str, numbered: bool
    ) -> None:
        target = int(redis_url.rpartition(":")[2].partition("/")[0])
        database = redis_url.rpartition("/")[2]
        with Proxy(target) as proxy:
            proxy.lose_replies(once(b"the lost one"))
            site = await make_site(f"redis://127.0.0.1:{proxy.port}/{database}", writing=True)
            writer = Writer(site)
            await writer.put()
            headers = {}
            if numbered:
                headers = {"Producer_Id": "p", "Producer_Epoch": "0", "Producer_Seq": "0"}
            answer = await writer.post('"the lost one"', **headers)
            assert proxy.lost == 1
            assert (answer.status, answer.code) == (503, "relay-unavailable")
            assert (await writer.here()).json == ["the lost one"]
            if numbered:
                assert (await writer.post('"the lost one"', **headers)).status == 204
                assert (await writer.here()).json == ["the lost one"]

    async def test_a_fork_whose_answer_is_lost_can_be_asked_for_again(
        self, make_site: MakeSite, redis_url: str
    ) -> None:
        target = int(redis_url.rpartition(":")[2].partition("/")[0])
        database = redis_url.rpartition("/")[2]
        with Proxy(target) as proxy:
            proxy.lose_replies(once(b"the fork's own"))
            site = await make_site(
                f"redis://127.0.0.1:{proxy.port}/{database}", writing=True, api_keys=(KEY,)
            )
            source, fork = Writer(site, "source"), Writer(site, "fork")
            fork.token = KEY
            await source.put("[1]")
            asked = {"Stream_Forked_From": "/v1/stream/source"}
            assert (await fork.put('["the fork\'s own"]', **asked)).status == 503
            assert (await fork.put('["the fork\'s own"]', **asked)).status == 200
            assert (await fork.here()).json == [1, "the fork's own"]

    async def test_keys_that_are_no_streams(self, redis_writing: Site, redis_url: str) -> None:
        with redis.Redis.from_url(redis_url) as direct:
            direct.set("ss:{s}:m", "not a hash")
            for method in WRITES:
                assert (await Writer(redis_writing).send(method, "1")).status == 503


async def test_a_stop_over_http_closes_it_for_writers(site: Site) -> None:
    writer = Writer(site)
    await writer.put("[1]")
    answer = await writer.request("POST", "/v1/stop/s")
    assert (answer.status, answer.json["endReason"]) == (200, "stopped")
    refused = await writer.post("2")
    assert (refused.status, refused.code) == (409, "closed")
    assert refused.headers["stream-closed"] == "true"
    assert refused.headers["stream-end-reason"] == "stopped"


async def test_where_a_stream_was_created_is_told(make_site: MakeSite, redis_url: str) -> None:
    site = await make_site(redis_url, writing=True, public_url="https://relay.example/streams")
    answer = await Writer(site).put(Stream_TTL="60")
    assert answer.headers["location"] == "https://relay.example/streams/v1/stream/s"
    head = await Writer(site).request("HEAD", "/v1/stream/s")
    assert head.headers["stream-ttl"] == "60"
    again = await Writer(site).put(Stream_TTL="60")
    assert (again.status, "location" in again.headers) == (200, False)
    assert (await Writer(site).put(Stream_TTL="61")).status == 409


@pytest.mark.parametrize(
    "life", [{"Stream_TTL": "0"}, {"Stream_Expires_At": "2001-01-01T00:00:00Z"}]
)
async def test_a_stream_whose_life_is_over(site: Site, life: dict[str, str]) -> None:
    writer = Writer(site)
    assert (await writer.put("[1]", **life)).status == 201
    assert (await writer.here()).status == 404


@pytest.mark.parametrize("mode", ["", "live=long-poll&offset=-1"])
async def test_a_document_that_others_wrote_runs_nothing(site: Site, mode: str) -> None:
    writer = Writer(site)
    await writer.put("<script>alert(origin)</script>", "text/html")
    answer = await writer.here(mode)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html")
    assert answer.headers["content-security-policy"] == "sandbox"


async def test_very_many_messages_do_not_hold_up_others(
    redis_writing: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = 0
    meanwhile: list[int] = []

    def parse(*arguments: Any) -> Any:
        before = answered
        parsed = parse_write(*arguments)
        meanwhile.append(answered - before)
        return parsed

    monkeypatch.setattr(writing, "parse_write", parse)
    writer = Writer(redis_writing)
    await writer.put()
    posting = asyncio.ensure_future(writer.post("[" + ",".join(["0"] * 200_000) + "]"))
    while not posting.done():
        assert (await writer.get("/healthz")).status == 200
        answered += 1
    assert (await posting).status == 204
    assert meanwhile[0] > 0


@pytest.mark.parametrize("path", ["sse/s", "stream/s?live=sse&offset=-1"])
async def test_a_hundred_thousand_messages_of_one_request_come_in_parts(
    redis_writing: Site, path: str
) -> None:
    writer = Writer(redis_writing)
    await writer.put("[" + ",".join(["0"] * 100_000) + "]", Stream_Closed="true")
    stream = await writer.open(f"/v1/{path}")
    pieces = []
    while piece := await read_chunk(stream.reader):
        pieces.append(piece)
    assert max(len(piece) for piece in pieces) < 2_000_000
    read = b"".join(pieces)
    assert sum(line.count(b"0") for line in re.findall(rb"data: ?(0|\[[0,]+\])\n", read)) == 100_000
