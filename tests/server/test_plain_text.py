"""`/v1/text/<id>` on a real socket: the words, and ends that look like none when they are bad."""

from __future__ import annotations

import asyncio

import pytest

from .client import TIMEOUT, Stream, read_chunk
from .conftest import MakeSite, Site
from .plain import read_plain
from .producer import Producer

both_ways = pytest.mark.parametrize("wired", [True, False], ids=["wired", "asgi"])


async def text_of(stream: Stream, until: str = "") -> tuple[str, bool]:
    """The text up to `until` or its end, and whether it is complete."""
    got = b""
    while not until or not got.endswith(until.encode()):
        piece = await asyncio.wait_for(read_chunk(stream.reader), TIMEOUT)
        if not piece:
            return got.decode(), piece is not None
        got += piece
    return got.decode(), False


async def open_text(site: Site, producer: Producer, **options: object) -> Stream:
    client = site.client(producer, **options)
    return await read_plain(client, producer.stream_id, door="text")


@both_ways
async def test_the_words_come_as_they_are_said(
    make_site: MakeSite, any_relay_url: str, wired: bool
) -> None:
    site = await make_site(any_relay_url, wired=wired, ping_interval=0.05)
    producer = site.producer()
    stream = await open_text(site, producer)
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/plain; charset=utf-8"
    assert stream.headers["content-encoding"] == "identity"
    producer.append({"type": "start"}, {"type": "text-delta", "delta": "Hel"})
    assert await text_of(stream, "Hel") == ("Hel", False)
    producer.append({"type": "reasoning-delta", "delta": "no"}, 5, None, ["x"])  # no text at all
    producer.append("lo\r\n", "\ud83d", "\ude42", "\ud83d")
    producer.append({"type": "response.output_text.delta", "delta": "!"}, end="completed")
    assert await text_of(stream) == ("lo\r\n🙂�!", True)
    late = await open_text(site, producer)
    assert await text_of(late) == ("Hello\r\n🙂�!", True)


@both_ways
@pytest.mark.parametrize("end", ["producer-error", "superseded", "drained", "token"])
async def test_what_does_not_end_well_breaks_off(
    make_site: MakeSite, redis_url: str, wired: bool, end: str
) -> None:
    site = await make_site(redis_url, wired=wired)
    producer = site.producer()
    producer.append("Hel")
    stream = await open_text(site, producer, ttl=2 if end == "token" else 60)
    assert await text_of(stream, "Hel") == ("Hel", False)
    if end == "superseded":
        producer.release().claim().append("new")
    elif end == "drained":
        await site.app.drain()
    elif end == "producer-error":
        producer.end("producer-error")
    assert await text_of(stream) == ("", False)
