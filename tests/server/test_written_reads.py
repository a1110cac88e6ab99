"""Reading what others write over HTTP."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode

import pytest
import redis

from tests.support.waiting import eventually_async as eventually

from .conftest import MakeSite, Site
from .writer import Writer

APP = "https://app.example"
KEY = "an API key of some back end"
MODES = ("", "live=long-poll&offset=-1", "live=sse&offset=-1")


@pytest.fixture
async def site(make_site: MakeSite, any_relay_url: str) -> Site:
    return await make_site(
        any_relay_url, writing=True, api_keys=(KEY,), allowed_origins=(APP,), long_poll_timeout=5.0
    )


@pytest.fixture
async def redis_writing(make_site: MakeSite, redis_url: str) -> Site:
    return await make_site(redis_url, writing=True)


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
