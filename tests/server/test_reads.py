"""Streams over real sockets: catch-up, long-poll, SSE, HEAD."""

from __future__ import annotations

import asyncio
import json
import os
import zlib

import pytest

from streamstraight_celery.codecs import get_codec, wire_encoder
from streamstraight_celery.relays.requests import Create
from streamstraight_celery.tokens import Tokens
from tests.support.waiting import eventually_async as eventually

from .conftest import SECRET, MakeSite, Site
from .producer import Producer


def written(site: Site, *, end: bool = True) -> Producer:
    """A stream of 10 chunks in entries of 3, 1, 4 and 2."""
    producer = site.producer()
    number = 0
    for size in (3, 1, 4, 2):
        producer.append(*({"n": number + each} for each in range(size)))
        number += size
    if end:
        producer.end()
    return producer


@pytest.mark.parametrize("after", range(11))
async def test_catch_up_resumes_at_every_offset(site: Site, after: int) -> None:
    producer = written(site)
    answer = await site.client(producer).read(
        producer.stream_id, f"offset={producer.offset(after)}"
    )
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == producer.values(after)
    assert answer.headers["stream-next-offset"] == producer.offset(10)
    assert answer.headers["stream-up-to-date"] == "true"
    assert answer.headers["stream-closed"] == "true"
    assert answer.headers["stream-end-reason"] == "completed"


async def test_a_long_catch_up_is_deflated_for_who_takes_that(site: Site) -> None:
    producer = site.producer()
    producer.append(*({"n": number, "text": "x" * 50} for number in range(500)))
    producer.end()
    client = site.client(producer)
    plain = await client.read(producer.stream_id)
    answer = await client.read(producer.stream_id, Accept_Encoding="gzip, deflate, br")
    assert "content-encoding" not in plain.headers
    assert answer.headers["content-encoding"] == "deflate"
    assert len(answer.body) * 4 < len(plain.body)
    assert zlib.decompress(answer.body) == plain.body
    assert answer.headers["etag"] != plain.headers["etag"]
    tag = {"If_None_Match": answer.headers["etag"]}
    assert (await client.read(producer.stream_id, Accept_Encoding="deflate", **tag)).status == 304
    assert (await client.read(producer.stream_id, **tag)).status == 200
    end = f"offset={producer.offset(499)}"
    short = await client.read(producer.stream_id, end, Accept_Encoding="deflate")
    assert "content-encoding" not in short.headers
    assert short.json == producer.values(499)


@pytest.mark.parametrize("after", range(11))
async def test_sse_resumes_at_every_offset(site: Site, after: int) -> None:
    producer = written(site)
    stream = await site.client(producer).sse(producer.stream_id, producer.offset(after))
    assert stream.headers["content-type"] == "text/event-stream"
    await stream.until_end()
    assert stream.complete
    assert stream.chunks == producer.values(after)
    assert stream.control == {
        "streamNextOffset": producer.offset(10),
        "upToDate": True,
        "streamClosed": True,
        "endReason": "completed",
    }


async def test_a_task_s_bytes_are_read_as_bytes(site: Site) -> None:
    """`codec="bytes"`: whole in a catch-up read, in base64 as events."""
    encode = wire_encoder(get_codec("bytes"))
    producer = Producer(site.relay, kind="bytes").create().claim()
    pieces = [b"\xff\x00\n", b"RIFF", bytes(range(256))]
    producer.append(*(json.loads(encode(piece)) for piece in pieces))
    producer.end()
    answer = await site.client(producer).read(producer.stream_id)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.body == b"".join(pieces)


@pytest.mark.parametrize("after", range(1, 10))
async def test_sse_resumes_by_last_event_id(site: Site, after: int) -> None:
    producer = written(site)
    stream = await site.client(producer).sse(
        producer.stream_id, "-1", Last_Event_ID=producer.offset(after)
    )
    await stream.until_end()
    assert stream.chunks == producer.values(after)


async def test_last_event_id_alone_is_enough(site: Site) -> None:
    producer = written(site)
    client = site.client(producer)
    stream = await client.sse(producer.stream_id, None, Last_Event_ID=producer.offset(4))
    assert (await stream.until_end()).chunks == producer.values(4)


async def test_an_event_source_that_has_everything_is_told_to_stay_away(site: Site) -> None:
    producer = written(site)
    client = site.client(producer)
    first = await (await client.sse(producer.stream_id)).until_end()
    assert first.events[-1].id == producer.offset(10)
    again = await client.read(
        producer.stream_id, "live=sse&offset=-1", Last_Event_ID=first.events[-1].id
    )
    assert again.status == 204
    assert again.headers["stream-closed"] == "true"


async def test_live_readers_get_chunks_as_they_come(site: Site) -> None:
    producer = site.producer()
    stream = await site.client(producer).sse(producer.stream_id)
    hello = await stream.until_event("control")
    assert hello.data["streamNextOffset"] == producer.offset(0)
    assert hello.data["upToDate"] is True
    for number in range(20):
        producer.append({"n": number})
        await stream.until_chunks(number + 1)
        await stream.until_event("control")
        assert stream.control["streamNextOffset"] == producer.offset(number + 1)
        assert stream.control["upToDate"] is True
    producer.append({"n": 20}, end="completed")
    await stream.until_end()
    assert stream.complete
    assert stream.chunks == producer.values()
    assert stream.control["streamClosed"] is True


async def test_a_reader_is_told_what_the_producer_does(
    make_site: MakeSite, any_relay_url: str
) -> None:
    site = await make_site(any_relay_url, lease=0.5)
    producer = Producer(site.relay, f"waits-{os.urandom(4).hex()}").create()
    stream = await site.client(producer).sse(producer.stream_id)
    await stream.until_status("queued")
    producer.claim()
    await stream.until_status("running")
    producer.append(1)
    await stream.until_chunks(1)
    await stream.until_status("stalled")
    producer.append(2)
    await stream.until_status("running")
    producer.release()
    await stream.until_status("queued")
    producer.claim(resume=True)
    await stream.until_status("running")
    producer.append(3, end="completed")
    await stream.until_end()
    assert stream.chunks == [1, 2, 3]


async def test_a_reader_that_comes_late_is_told_too(
    make_site: MakeSite, any_relay_url: str
) -> None:
    site = await make_site(any_relay_url, lease=0.2)
    producer = site.producer()
    producer.append(1)
    early = await site.client(producer).sse(producer.stream_id)
    await early.until_status("stalled")
    late = await site.client(producer).sse(producer.stream_id)
    await late.until_status("stalled")
    assert (late.chunks, late.statuses) == ([1], ["stalled"])


async def test_every_frame_of_a_live_stream_has_its_offset(site: Site) -> None:
    producer = site.producer()
    stream = await site.client(producer).sse(producer.stream_id)
    for number in range(5):
        producer.append({"n": number}, {"m": number})
        await stream.until_chunks(2 * number + 2)
    assert stream.offsets == [producer.offset(seq) for seq in (1, 2, 4, 6, 8, 10)]


async def test_the_first_chunk_comes_alone(site: Site) -> None:
    """Only the offset after it tells this attempt from the next one."""
    producer = site.producer()
    producer.append(1, 2, 3)
    producer.end()
    stream = await site.client(producer).sse(producer.stream_id)
    await stream.until_end()
    assert stream.offsets == [producer.offset(1), producer.offset(3)]
    assert stream.chunks == [1, 2, 3]


async def test_an_error_reaches_readers(site: Site) -> None:
    producer = site.producer()
    stream = await site.client(producer).sse(producer.stream_id)
    producer.append({"n": 1})
    producer.end("producer-error", '{"code":"rate-limit","message":"Too fast."}')
    await stream.until_end()
    assert stream.control["endReason"] == "producer-error"
    assert stream.control["error"] == {"code": "rate-limit", "message": "Too fast."}


async def test_an_end_without_an_error_has_a_safe_message(site: Site) -> None:
    producer = site.producer()
    producer.end("producer-error")
    stream = await (await site.client(producer).sse(producer.stream_id)).until_end()
    assert stream.control["error"]["code"] == "producer-error"
    assert stream.control["error"]["message"]


async def test_a_queued_stream_is_empty_and_its_offset_goes_on(site: Site) -> None:
    site.relay.call(Create("queued", "task"))
    client = site.client("queued")
    caught_up = await client.read("queued")
    assert (caught_up.status, caught_up.json) == (200, [])
    offset = caught_up.headers["stream-next-offset"]
    stream = await client.sse("queued", offset)
    await stream.until_event("control")
    producer = Producer(site.relay, "queued").claim()
    producer.append("first")
    await stream.until_chunks(1)
    assert stream.chunks == ["first"]
    late = await (await client.sse("queued", offset)).until_chunks(1)
    assert late == ["first"]


async def test_now_skips_what_is_there(site: Site) -> None:
    producer = written(site, end=False)
    client = site.client(producer)
    caught_up = await client.read(producer.stream_id, "offset=now")
    assert caught_up.json == []
    assert caught_up.headers["stream-next-offset"] == producer.offset(10)
    assert caught_up.headers["stream-up-to-date"] == "true"
    assert caught_up.headers["cache-control"] == "no-store"
    assert "etag" not in caught_up.headers
    stream = await client.sse(producer.stream_id, "now")
    assert (await stream.until_event("control")).data["streamNextOffset"] == producer.offset(10)
    producer.append("news", end="completed")
    assert (await stream.until_end()).chunks == ["news"]


async def test_a_catch_up_of_large_chunks_comes_in_parts(site: Site) -> None:
    producer = site.producer()
    for number in range(10):
        producer.append(str(number) * 1_000_000)
    client = site.client(producer)
    chunks: list[str] = []
    offset, up_to_date = "-1", False
    while not up_to_date:
        answer = await client.read(producer.stream_id, f"offset={offset}")
        assert len(answer.body) < 6_000_000
        chunks += answer.json
        offset = answer.headers["stream-next-offset"]
        up_to_date = "stream-up-to-date" in answer.headers
    assert chunks == producer.values()


async def test_long_poll_waits_for_news(site: Site) -> None:
    producer = written(site, end=False)
    client = site.client(producer)
    query = f"live=long-poll&offset={producer.offset(10)}"
    waiting = asyncio.ensure_future(client.read(producer.stream_id, query))
    await eventually(lambda: producer.stream_id in site.app.start().hub.feeds)
    await eventually(lambda: site.app.start().hub.feeds[producer.stream_id].waiting)
    producer.append("news")
    answer = await waiting
    assert (answer.status, answer.json) == (200, ["news"])
    assert answer.headers["stream-next-offset"] == producer.offset(11)
    assert answer.headers["stream-cursor"].isdigit()


async def test_long_poll_answers_at_once_when_there_is_something(site: Site) -> None:
    producer = written(site, end=False)
    answer = await site.client(producer).read(
        producer.stream_id, f"live=long-poll&offset={producer.offset(2)}"
    )
    assert answer.json == producer.values(2)


async def test_long_poll_times_out_with_204(make_site: MakeSite, any_relay_url: str) -> None:
    site = await make_site(any_relay_url, long_poll_timeout=0.05)
    producer = written(site, end=False)
    answer = await site.client(producer).read(producer.stream_id, "live=long-poll&offset=now")
    assert answer.status == 204
    assert answer.headers["stream-up-to-date"] == "true"
    assert answer.headers["stream-next-offset"] == producer.offset(10)
    assert "stream-closed" not in answer.headers


async def test_long_poll_waits_no_longer_than_its_token_is_good(site: Site) -> None:
    producer = site.producer()
    client = site.client(producer, ttl=2)
    answer = await client.read(producer.stream_id, "live=long-poll&offset=now")
    assert answer.status == 204


async def test_long_poll_waits_no_longer_than_its_client(redis_site: Site) -> None:
    producer = redis_site.producer()
    client = redis_site.client(producer)
    _, writer = await asyncio.open_connection("127.0.0.1", redis_site.port)
    path = f"/v1/stream/{producer.stream_id}?live=long-poll&offset=now"
    writer.write(client._request("GET", path, {}))
    feeds = redis_site.app.start().hub.feeds
    await eventually(lambda: producer.stream_id in feeds and feeds[producer.stream_id].readers)
    feed = feeds[producer.stream_id]
    writer.close()
    await writer.wait_closed()
    await eventually(lambda: not feed.readers)


async def test_long_poll_of_a_closed_stream_does_not_wait(site: Site) -> None:
    producer = written(site)
    answer = await site.client(producer).read(
        producer.stream_id, f"live=long-poll&offset={producer.offset(10)}"
    )
    assert answer.status == 204
    assert answer.headers["stream-closed"] == "true"
    assert answer.headers["stream-end-reason"] == "completed"


async def test_long_poll_cursors_advance(site: Site) -> None:
    producer = written(site)
    client = site.client(producer)
    first = await client.read(producer.stream_id, "live=long-poll&offset=-1")
    cursor = first.headers["stream-cursor"]
    second = await client.read(producer.stream_id, f"live=long-poll&offset=-1&cursor={cursor}")
    assert int(second.headers["stream-cursor"]) > int(cursor)


async def test_head_tells_the_tail(site: Site) -> None:
    producer = written(site, end=False)
    client = site.client(producer)
    answer = await client.request("HEAD", f"/v1/stream/{producer.stream_id}")
    assert answer.status == 200
    assert answer.body == b""
    assert answer.headers["stream-next-offset"] == producer.offset(10)
    assert answer.headers["cache-control"] == "no-store"
    assert "stream-closed" not in answer.headers
    producer.end()
    answer = await client.request("HEAD", f"/v1/stream/{producer.stream_id}")
    assert answer.headers["stream-closed"] == "true"


async def test_etags_change_with_the_end(site: Site) -> None:
    producer = written(site, end=False)
    client = site.client(producer)
    etag = (await client.read(producer.stream_id)).headers["etag"]
    same = await client.read(producer.stream_id, If_None_Match=etag)
    assert (same.status, same.body) == (304, b"")
    assert same.headers["etag"] == etag
    producer.end()
    changed = await client.read(producer.stream_id, If_None_Match=etag)
    assert changed.status == 200
    assert changed.headers["stream-closed"] == "true"


async def test_long_streams_are_paged(site: Site) -> None:
    producer = site.producer()
    for number in range(30):
        producer.append(*({"n": number, "pad": "x" * 9000} for _ in range(20)))
    producer.end()
    client = site.client(producer)
    stream = await (await client.sse(producer.stream_id)).until_end()
    assert stream.chunks == producer.values()
    got: list[object] = []
    offset, closed = "-1", False
    while not closed:
        answer = await client.read(producer.stream_id, f"offset={offset}")
        got += answer.json
        offset, closed = answer.headers["stream-next-offset"], "stream-closed" in answer.headers
    assert got == producer.values()


async def test_a_long_poll_reader_pages_too(site: Site) -> None:
    producer = site.producer()
    for number in range(30):
        producer.append(*({"n": number, "pad": "x" * 9000} for _ in range(20)))
    client = site.client(producer)
    got: list[object] = []
    offset = "-1"
    while len(got) < 600:
        answer = await client.read(producer.stream_id, f"live=long-poll&offset={offset}")
        got += answer.json
        offset = answer.headers["stream-next-offset"]
    assert got == producer.values()


async def test_a_reader_that_joins_in_the_middle_of_a_run_misses_nothing(site: Site) -> None:
    producer = site.producer()
    client = site.client(producer)
    streams = []
    for number in range(40):
        producer.append({"n": number})
        streams.append(await client.sse(producer.stream_id))
    producer.end()
    for stream in streams:
        await stream.until_end()
        assert stream.chunks == producer.values()


async def test_an_expired_token_ends_a_live_connection(make_site: MakeSite, redis_url: str) -> None:
    site = await make_site(redis_url)
    producer = site.producer()
    short = Tokens([SECRET]).issue(producer.stream_id, ttl=4)[0]
    client = site.client(producer)
    client.token = short
    stream = await client.sse(producer.stream_id)
    await stream.until_event("control")
    await stream.until_end()
    assert stream.complete
    answer = await client.read(producer.stream_id)
    assert (answer.status, answer.code) == (401, "expired-token")


async def test_old_connections_are_recycled(make_site: MakeSite, any_relay_url: str) -> None:
    site = await make_site(any_relay_url, max_age=0.1)
    producer = written(site, end=False)
    client = site.client(producer)
    stream = await client.sse(producer.stream_id)
    await stream.until_end()
    assert stream.complete
    assert stream.chunks == producer.values()
    producer.append("more", end="completed")
    again = await client.sse(producer.stream_id, stream.control["streamNextOffset"])
    assert (await again.until_end()).chunks == ["more"]


async def test_quiet_connections_are_pinged(make_site: MakeSite, any_relay_url: str) -> None:
    site = await make_site(any_relay_url, ping_interval=0.05)
    producer = site.producer()
    stream = await site.client(producer).sse(producer.stream_id)
    await stream.until_comment("ping")
    producer.append("after the ping", end="completed")
    assert (await stream.until_end()).chunks == ["after the ping"]


async def test_text_is_sent_as_it_was_written(site: Site) -> None:
    producer = site.producer()
    text = 'line\u2028separator \r\n\r\n quote" emoji \N{GRINNING FACE} data: x\n\nevent: y'
    producer.append(text)
    producer.append({"nested": [text, None, 1.5]})
    producer.end()
    client = site.client(producer)
    stream = await (await client.sse(producer.stream_id)).until_end()
    assert stream.chunks == [text, {"nested": [text, None, 1.5]}]
    assert (await client.read(producer.stream_id)).json == stream.chunks
    assert json.loads((await client.read(producer.stream_id)).body) == stream.chunks


@pytest.mark.parametrize(("offset", "after"), [("-4", 6), ("-01", 9), ("-100", 0), ("-1", 0)])
async def test_a_negative_offset_counts_from_the_end(site: Site, offset: str, after: int) -> None:
    producer = written(site)
    client = site.client(producer)
    answer = await client.read(producer.stream_id, f"offset={offset}")
    assert answer.json == producer.values(after)
    poll = await client.read(producer.stream_id, f"offset={offset}&live=long-poll")
    assert poll.json == producer.values(after)
    stream = await client.sse(producer.stream_id, offset)
    await stream.until_end()
    assert stream.chunks == producer.values(after)


async def test_a_stream_that_is_not_there_yet_is_waited_for(site: Site) -> None:
    producer = Producer(site.relay, "not-there-yet")
    client = site.client("not-there-yet")
    waiting = asyncio.create_task(client.read("not-there-yet", "offset=-1&live=long-poll&wait=60"))
    producer.create().claim().append("here", end="completed")
    assert (await waiting).json == ["here"]


@pytest.mark.parametrize("wait", ["-1", "301", "x", ""])
async def test_a_wait_is_a_number_of_seconds(site: Site, wait: str) -> None:
    answer = await site.client("a").read("a", f"offset=-1&wait={wait}")
    assert answer.status == 400
