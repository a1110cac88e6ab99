"""All readers of a process share their connections to the store, and leave none behind."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
import redis
from celery import Celery

from streamstraight_celery.errors import StreamNotFoundError
from streamstraight_celery.reader import IDLE, aread_stream, read_stream
from streamstraight_celery.relays.base import RelayOptions
from streamstraight_celery.relays.redis.relay import RedisRelay
from streamstraight_celery.relays.requests import Append, Claim
from tests.conftest import RedisServer, eventually

READERS = 20


class Streams:
    """A Redis with one stream that is being written."""

    def __init__(self, server: RedisServer) -> None:
        self.app = Celery("t", broker="memory://", set_as_current=False)
        self.app.conf.stream_relay_url = server.url()
        self.client = redis.Redis.from_url(server.url(), client_name="test")
        self.relay = RedisRelay(
            server.url(), RelayOptions(lease=600_000), connection={"client_name": "test"}
        )
        self.relay.call(Claim("s", "aaaaaaaa", "task"))
        self._next = 1

    def write(self, end: str = "") -> None:
        data = f'"{self._next}"'.encode()
        self.relay.call(Append("s", 1, "aaaaaaaa", self._next, 1, data, end))
        self._next += 1

    def connections(self, kind: str = "") -> int:
        """Those of readers: all, or `pubsub` alone."""
        theirs = [each for each in self.client.client_list() if each["name"] != "test"]
        return sum(kind != "pubsub" or int(each["sub"]) > 0 for each in theirs)


@pytest.fixture
def streams(own_redis: RedisServer) -> Iterator[Streams]:
    streams = Streams(own_redis)
    yield streams
    streams.relay.close()
    streams.client.close()


def test_sync_readers_share_one_subscription(streams: Streams) -> None:
    readers = [read_stream("s", app=streams.app) for _ in range(READERS)]
    got: list[list[Any]] = [[] for _ in readers]
    threads = [
        threading.Thread(target=lambda pair=pair: pair[1].extend(pair[0]))  # type: ignore[misc]
        for pair in zip(readers, got, strict=True)
    ]
    for thread in threads:
        thread.start()
    streams.write()
    eventually(lambda: all(len(each) == 1 for each in got))
    assert streams.connections("pubsub") == 1
    assert streams.connections() < READERS
    streams.write("completed")
    for thread in threads:
        thread.join(30)
    assert got == [["1", "2"]] * READERS
    eventually(lambda: streams.connections() == 0)


async def test_async_readers_share_one_subscription(streams: Streams) -> None:
    async def read(got: list[Any]) -> None:
        async with aread_stream("s", app=streams.app) as stream:
            async for chunk in stream:
                got.append(chunk)

    got: list[list[Any]] = [[] for _ in range(READERS)]
    tasks = [asyncio.create_task(read(each)) for each in got]
    streams.write()
    await asyncio.to_thread(eventually, lambda: all(len(each) == 1 for each in got))
    assert streams.connections("pubsub") == 1
    assert streams.connections() < READERS
    streams.write("completed")
    await asyncio.gather(*tasks)
    assert got == [["1", "2"]] * READERS
    await asyncio.to_thread(eventually, lambda: streams.connections() == 0)


@pytest.mark.parametrize("closing", [True, False])
async def test_a_reader_cancelled_by_anyio_leaves_nothing(streams: Streams, closing: bool) -> None:
    """As Starlette does with a response whose client has left: every await is cancelled again."""
    gc.disable()
    try:
        streams.write()
        reading = asyncio.Event()

        async def read() -> None:
            stream = aread_stream("s", app=streams.app)
            if closing:
                async with stream:
                    async for _ in stream:
                        reading.set()
            else:
                async for _ in stream:
                    reading.set()

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await reading.wait()
            assert streams.connections("pubsub") == 1
            group.cancel_scope.cancel()
        if not closing:
            gc.collect()  # its traceback is a cycle
        await asyncio.to_thread(eventually, lambda: streams.connections() == 0)
    finally:
        gc.enable()


def test_a_reader_of_nothing_leaves_nothing(streams: Streams) -> None:
    with pytest.raises(StreamNotFoundError):
        list(read_stream("other", app=streams.app))
    eventually(lambda: streams.connections() == 0)


def test_a_reader_that_is_forgotten_leaves_nothing(streams: Streams) -> None:
    streams.write()
    stream = read_stream("s", app=streams.app)
    assert next(stream) == "1"
    assert streams.connections("pubsub") == 1
    del stream
    eventually(lambda: streams.connections() == 0)


def test_a_quiet_stream_yields_a_marker(streams: Streams) -> None:
    """So that a sync route can send a ping, and sees that its client has left."""
    streams.write()
    with read_stream("s", app=streams.app, idle=0.05) as stream:
        assert next(chunk for chunk in stream if chunk is not IDLE) == "1"
        assert next(stream) is IDLE
        assert next(stream) is IDLE
        streams.write()
        found = next(stream)
        while found is IDLE:
            found = next(stream)
        assert found == "2"
        streams.write("completed")
        assert [chunk for chunk in stream if chunk is not IDLE] == ["3"]


async def test_a_quiet_stream_yields_a_marker_to_async_readers(streams: Streams) -> None:
    streams.write()
    async with aread_stream("s", app=streams.app, idle=0.05) as stream:
        assert await anext(chunk async for chunk in stream if chunk is not IDLE) == "1"
        assert await anext(stream) is IDLE
