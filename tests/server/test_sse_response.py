"""One streaming response: slow and stuck readers, many of them, and both ways to write."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
import redis

from streamstraight_celery.relays.requests import Delete, Entry
from streamstraight_celery.server.live.reader import Log, Reader
from streamstraight_celery.server.reads.durable_frames import DurableFrames
from tests.support.waiting import eventually_async as eventually

from . import serving
from .client import Client, Stream, read_head
from .conftest import MakeSite, Site
from .producer import Producer

pytestmark = pytest.mark.parametrize("wired", [True, False], ids=["wired", "asgi"])


async def narrow(client: Client, producer: Producer) -> Stream:
    """An SSE reader whose socket takes little and who reads nothing yet."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", client.port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=2**12)
    request = (
        f"GET /v1/stream/{producer.stream_id}?live=sse&offset=-1 HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {client.token}\r\n\r\n"
    )
    writer.write(request.encode())
    status, headers = await read_head(reader)
    stream = Stream(status, headers, reader, writer)
    client._streams.append(stream)
    return stream


async def test_readers_share_one_subscription_and_one_frame(
    make_site: MakeSite, redis_url: str, wired: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[Entry] = []
    original = DurableFrames.data

    def data(self: DurableFrames, entry: Entry, offset: str, log: Log) -> bytes:
        encoded.append(entry)
        return original(self, entry, offset, log)

    monkeypatch.setattr(DurableFrames, "data", data)
    site = await make_site(redis_url, wired=wired)
    producer = site.producer()
    client = site.client(producer)
    streams = [await client.sse(producer.stream_id) for _ in range(100)]
    for stream in streams:
        await stream.until_event("control")
    for number in range(1, 21):
        producer.append(number)
        for stream in streams:
            await stream.until_chunks(number)
    producer.end()
    for stream in streams:
        assert (await stream.until_end()).chunks == list(range(1, 21))
    assert len(encoded) == 20
    with redis.Redis.from_url(redis_url) as direct:
        channel = f"ss:{{{producer.stream_id}}}:n{redis_url.rpartition('/')[2]}"
        assert direct.pubsub_numsub(channel) == [(channel.encode(), 1)]


async def test_a_thousand_late_readers_cost_one_read(
    make_site: MakeSite, redis_url: str, wired: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await make_site(redis_url, wired=wired)
    producer = site.producer()
    for number in range(50):
        producer.append(number)
    relay = site.app.start().relay
    reads: list[Any] = []
    original = relay.read

    async def read(wanted: Any) -> Any:
        reads.extend(wanted)
        return await original(wanted)

    monkeypatch.setattr(relay, "read", read)
    client = site.client(producer)
    streams = await asyncio.gather(*(client.sse(producer.stream_id) for _ in range(200)))
    for stream in streams:
        assert await stream.until_chunks(50) == producer.values()
    assert sum(read.seq == 0 for read in reads) == 1


async def test_a_slow_reader_holds_up_nobody_and_gets_everything(
    make_site: MakeSite, any_relay_url: str, wired: bool
) -> None:
    site = await make_site(any_relay_url, wired=wired)
    producer = site.producer()
    client = site.client(producer)
    slow = await narrow(client, producer)
    fast = await client.sse(producer.stream_id)
    for number in range(40):
        producer.append(*({"n": number, "pad": "x" * 5000} for _ in range(20)))
        await fast.until_chunks(20 * (number + 1))
    producer.end()
    await fast.until_end()
    reader = next(iter(site.app.start().hub.feeds[producer.stream_id].readers))
    assert reader.seq < 800
    await slow.until_end()
    assert slow.complete
    assert slow.chunks == fast.chunks == producer.values()


async def test_a_reader_that_never_reads_is_closed(
    make_site: MakeSite, any_relay_url: str, wired: bool
) -> None:
    site = await make_site(any_relay_url, wired=wired, send_timeout=0.1)
    producer = site.producer()
    client = site.client(producer)
    stuck = await narrow(client, producer)
    for number in range(40):
        producer.append(*({"n": number, "pad": "x" * 5000} for _ in range(20)))
    feed = site.app.start().hub.feeds[producer.stream_id]
    await eventually(lambda: not feed.readers)
    await stuck.until_end()
    assert not stuck.complete
    got = len(stuck.chunks)
    assert 0 < got < 800
    again = await client.sse(producer.stream_id, stuck.offsets[-1])
    assert await again.until_chunks(800 - got) == producer.values(got)


async def test_a_reader_of_a_stream_that_was_replaced_is_looked_after(
    make_site: MakeSite, any_relay_url: str, wired: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "listen", serving.listen_narrow)
    site = await make_site(any_relay_url, wired=wired, send_timeout=1)
    producer = site.producer()
    client = site.client(producer)
    await narrow(client, producer)
    for number in range(40):
        producer.append(*({"n": number, "pad": "x" * 5000} for _ in range(20)))
    producer.end()
    hub = site.app.start().hub
    old = hub.feeds[producer.stream_id]
    (stuck,) = serving.connections[site.port]
    await eventually(lambda: old.over and stuck.flow.write_paused)
    producer.relay.call(Delete(producer.stream_id))
    await eventually(lambda: old.deleted)
    again = site.producer(producer.stream_id)
    again.append("another")
    reader = await client.sse(producer.stream_id)
    assert await reader.until_chunks(1) == ["another"]
    assert hub.feeds[producer.stream_id] is not old
    await eventually(lambda: not old.readers)
    assert site.app._tally.dropped == 1


async def test_a_reader_that_never_takes_the_last_bytes_is_closed(
    make_site: MakeSite, redis_url: str, wired: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "listen", serving.listen_narrow)
    site = await make_site(redis_url, wired=wired, send_timeout=0.1)
    # Of one of these sizes only the end of the response does not fit any more.
    for size in range(1, 8):
        producer = site.producer()
        for _ in range(size):
            producer.append("x" * 32000)
        producer.end()
        await narrow(site.client(producer), producer)
    feeds = site.app.start().hub.feeds.values()
    await eventually(lambda: not any(feed.readers for feed in feeds))


async def test_a_reader_that_leaves_while_its_stream_is_looked_up_is_not_served(
    make_site: MakeSite, redis_url: str, wired: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await make_site(redis_url, wired=wired)
    producer = site.producer()
    client = site.client(producer)
    running = site.app.start()
    asked, go_on = asyncio.Event(), asyncio.Event()
    joined: list[Reader] = []
    read, join = running.relay.read, running.hub.join

    async def slowly(wanted: Any) -> Any:
        asked.set()
        await go_on.wait()
        return await read(wanted)

    monkeypatch.setattr(running.relay, "read", slowly)
    monkeypatch.setattr(running.hub, "join", lambda reader: (joined.append(reader), join(reader)))
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(client._request("GET", f"/v1/sse/{producer.stream_id}", {}))
    await asked.wait()
    writer.close()
    await writer.wait_closed()
    await client.get("/healthz")  # by now the server has seen both
    go_on.set()
    await eventually(lambda: joined)
    await eventually(lambda: not joined[0].feed.readers)


async def test_concurrent_readers_at_different_places(
    make_site: MakeSite, any_relay_url: str, wired: bool
) -> None:
    site: Site = await make_site(any_relay_url, wired=wired)
    producer = site.producer()
    client = site.client(producer)
    readers: list[tuple[int, asyncio.Task[Stream]]] = []
    for number in range(1, 61):
        producer.append({"n": number})
        if number % 3 == 0:
            after = number // 2
            stream = await client.sse(producer.stream_id, producer.offset(after))
            readers.append((after, asyncio.ensure_future(stream.until_end())))
    producer.end()
    for after, reading in readers:
        stream = await reading
        assert stream.complete
        assert stream.chunks == producer.values(after)
