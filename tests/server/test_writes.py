"""Writing over HTTP, through a real server: who may, how much, and what readers see of it."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
import redis

from streamstraight_celery.server.access import COOKIE
from streamstraight_celery.server.writes import handlers as writing
from streamstraight_celery.server.writes.durable_writes import parse_write
from tests.support.proxy import Proxy, once

from .client import Client, read_chunk
from .conftest import MakeSite, Site
from .writer import JSON, Writer

APP = "https://app.example"
KEY = "an API key of some back end"
WRITES = ("PUT", "POST", "DELETE")


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
