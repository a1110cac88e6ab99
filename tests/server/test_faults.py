"""Readers while Redis, producers and connections fail: nothing lost or doubled, or said so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import redis

from streamstraight_celery.errors import RelayUnavailableError
from streamstraight_celery.relays import open_async_relay
from streamstraight_celery.relays.base import AsyncRelay, Notice, OnGap, OnNotice, Page, Watcher
from streamstraight_celery.relays.requests import Answer, Read, Release, Request
from streamstraight_celery.settings import StreamSettings
from tests.conftest import RedisServer
from tests.support.waiting import eventually_async as eventually

from .client import Client
from .conftest import MakeSite, Site
from .producer import Producer


class TroubledRelay(AsyncRelay):
    """A relay whose notices may be swallowed, and whose reads are counted, and may be refused."""

    def __init__(self, relay: AsyncRelay) -> None:
        self._relay = relay
        self.deaf = False
        self.swallowed = 0
        self.reads: list[Read] = []
        self.unreadable = ""

    async def execute(self, requests: Sequence[Request]) -> list[Answer]:
        return await self._relay.execute(requests)

    async def read(self, reads: Sequence[Read]) -> list[Page | None]:
        self.reads += reads
        if self.unreadable:
            raise RelayUnavailableError("one of them cannot be read")
        return await self._relay.read(reads)

    async def read_each(
        self, reads: Sequence[Read]
    ) -> Sequence[Page | RelayUnavailableError | None]:
        if not self.unreadable:
            return await self.read(reads)
        error = RelayUnavailableError(f"{self.unreadable} cannot be read")
        return [
            error if read.stream_id == self.unreadable else (await self._relay.read([read]))[0]
            for read in reads
        ]

    def watch(self, on_notice: OnNotice, on_gap: OnGap) -> Watcher:
        def hear(stream_id: str, notice: Notice) -> None:
            if self.deaf:
                self.swallowed += 1
            else:
                on_notice(stream_id, notice)

        return self._relay.watch(hear, on_gap)

    async def ping(self) -> None:
        await self._relay.ping()

    async def close(self) -> None:
        await self._relay.close()


async def troubled(make_site: MakeSite, url: str, **changes: Any) -> tuple[Site, TroubledRelay]:
    made: list[TroubledRelay] = []

    def open_relay(settings: StreamSettings) -> AsyncRelay:
        made.append(TroubledRelay(open_async_relay(settings)))
        return made[-1]

    site = await make_site(url, app_options={"open_relay": open_relay}, **changes)
    site.app.start()
    return site, made[0]


def keys(producer: Producer) -> tuple[str, str]:
    return f"ss:{{{producer.stream_id}}}:m", f"ss:{{{producer.stream_id}}}:s"


def lose_tail(client: redis.Redis, producer: Producer, last: int) -> None:
    """What a lagging replica does: the log ends at chunk `last` again."""
    state, log = keys(producer)
    client.delete(log)
    for number in range(1, last + 1):
        client.xadd(log, {"d": producer.chunks[number - 1]}, id=f"{producer.attempt}-{number}")
    client.hset(state, "q", str(last))


async def test_swallowed_notices_are_noticed(make_site: MakeSite, any_relay_url: str) -> None:
    site, relay = await troubled(make_site, any_relay_url)
    producer = site.producer()
    stream = await site.client(producer).sse(producer.stream_id)
    producer.append(1)
    await stream.until_chunks(1)
    relay.deaf = True
    producer.append(2)
    producer.append(3)
    await stream.until_chunks(3)
    assert relay.swallowed >= 2
    producer.append(4)
    relay.deaf = False
    producer.append(5)
    producer.end()
    assert (await stream.until_end()).chunks == [1, 2, 3, 4, 5]


async def test_a_stream_that_cannot_be_read_holds_up_no_other(
    make_site: MakeSite, any_relay_url: str
) -> None:
    """As when a node of a cluster is away."""
    site, relay = await troubled(make_site, any_relay_url)
    producers = [site.producer(), site.producer()]
    streams = [await site.client(each).sse(each.stream_id) for each in producers]
    for stream in streams:
        await stream.until_event("control")
    relay.unreadable = producers[0].stream_id
    relay.deaf = True
    for producer in producers:
        producer.append(1)
    await streams[1].until_chunks(1)
    assert streams[0].chunks == []
    relay.unreadable = ""
    await streams[0].until_chunks(1)
    relay.deaf = False
    for producer, stream in zip(producers, streams, strict=True):
        producer.end()
        assert (await stream.until_end()).chunks == [1]


async def test_a_swallowed_end_is_noticed(make_site: MakeSite, any_relay_url: str) -> None:
    site, relay = await troubled(make_site, any_relay_url)
    producer = site.producer()
    stream = await site.client(producer).sse(producer.stream_id)
    await stream.until_event("control")
    relay.deaf = True
    producer.append(1, end="completed")
    await stream.until_end()
    assert stream.chunks == [1]
    assert stream.control["endReason"] == "completed"


async def test_a_killed_subscription_comes_back(
    make_site: MakeSite, redis_server: RedisServer, redis_url: str
) -> None:
    site, relay = await troubled(make_site, redis_url)
    producer = site.producer()
    stream = await site.client(producer).sse(producer.stream_id)
    with redis.Redis.from_url(redis_url) as client:
        for number in range(1, 30):
            producer.append(number)
            if number % 7 == 0:
                client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await stream.until_chunks(number)
        producer.end()
        await stream.until_end()
        assert stream.chunks == list(range(1, 30))
    assert relay.reads


@pytest.mark.parametrize("kept", [None, 0, 1, 3, 5])
async def test_a_rollback_that_the_producer_heals_goes_unnoticed(
    make_site: MakeSite, redis_url: str, kept: int | None
) -> None:
    """Redis loses all (None) or the tail of the log; the producer sends its copy again."""
    site = await make_site(redis_url)
    producer = site.producer()
    early = await site.client(producer).sse(producer.stream_id)
    for number in range(1, 6):
        producer.append(number)
    await early.until_chunks(5)
    feed = site.app.start().hub.feeds[producer.stream_id]
    with redis.Redis.from_url(redis_url) as client:
        if kept is None:
            client.delete(*keys(producer))
        else:
            lose_tail(client, producer, kept)
    if kept != 5:
        await eventually(lambda: feed.lost_since is not None)
    if kept is None:
        producer.claim(nonce=producer.nonce, attempt=producer.attempt)
    late = await site.client(producer).sse(producer.stream_id, producer.offset(4))
    for number in range((kept or 0) + 1, 6):
        producer.send(number, number)
    producer.append(6)
    producer.append(7, end="completed")
    assert (await early.until_end()).chunks == [1, 2, 3, 4, 5, 6, 7]
    assert (await late.until_end()).chunks == [5, 6, 7]
    assert early.complete


async def test_a_reader_beyond_the_end_waits_for_what_redis_lost(
    make_site: MakeSite, redis_url: str
) -> None:
    """The reader comes from another relay process, which knew more than Redis does now."""
    site = await make_site(redis_url)
    producer = site.producer()
    for number in range(1, 6):
        producer.append(number)
    with redis.Redis.from_url(redis_url) as client:
        lose_tail(client, producer, 2)
    client_ = site.client(producer)
    caught_up = await client_.read(producer.stream_id, f"offset={producer.offset(5)}")
    assert (caught_up.status, caught_up.json) == (200, [])
    assert caught_up.headers["stream-next-offset"] == producer.offset(5)
    stream = await client_.sse(producer.stream_id, producer.offset(5))
    assert (await stream.until_event("control")).data["streamNextOffset"] == producer.offset(5)
    producer.send(3, 5)
    producer.append(6, end="completed")
    assert (await stream.until_end()).chunks == [6]


async def test_an_older_attempt_back_from_the_dead_is_not_read(
    make_site: MakeSite, redis_url: str
) -> None:
    """A failover brings attempt 1 back; attempt 2's producer lives and takes its place again."""
    site = await make_site(redis_url)
    producer = site.producer()
    producer.append("old")
    site.relay.call(Release(producer.stream_id, producer.attempt, producer.nonce, 1000))
    with redis.Redis.from_url(redis_url) as client:
        before = {key: client.dump(key) for key in keys(producer)}
        producer.claim()
        for number in range(1, 4):
            producer.append(number)
        stream = await site.client(producer).sse(producer.stream_id)
        await stream.until_chunks(3)
        feed = site.app.start().hub.feeds[producer.stream_id]
        for key, value in before.items():
            client.restore(key, 100_000, value, replace=True)
    await eventually(lambda: feed.lost_since is not None)
    late = await site.client(producer).sse(producer.stream_id, producer.offset(2))
    producer.claim(nonce=producer.nonce, attempt=2)
    producer.send(1, 3)
    producer.append(4, end="completed")
    assert (await stream.until_end()).chunks == [1, 2, 3, 4]
    assert (await late.until_end()).chunks == [3, 4]


async def test_what_is_lost_for_good_is_told(make_site: MakeSite, redis_url: str) -> None:
    site = await make_site(redis_url, lease=0.1, reap_after=0.2)
    producer = site.producer()
    producer.append(1)
    client_ = site.client(producer)
    stream = await client_.sse(producer.stream_id)
    await stream.until_chunks(1)
    with redis.Redis.from_url(redis_url) as client:
        client.delete(*keys(producer))
    await stream.until_end()
    assert stream.complete
    answer = await client_.read(producer.stream_id, f"live=sse&offset={producer.offset(1)}")
    assert (answer.status, answer.code) == (410, "gone")


async def test_a_tail_lost_by_an_ended_stream_is_gone(site: Site) -> None:
    producer = site.producer()
    producer.append(1, end="completed")
    offset = producer.offset(1).replace("0000000001_", "0000000005_")
    client = site.client(producer)
    for query in (
        f"offset={offset}",
        f"live=sse&offset={offset}",
        f"live=long-poll&offset={offset}",
    ):
        answer = await client.read(producer.stream_id, query)
        assert (answer.status, answer.code) == (410, "gone")
        assert answer.json["attempt"] == 1


async def test_a_new_attempt_ends_connections_and_outdates_offsets(site: Site) -> None:
    producer = site.producer()
    producer.append("first try")
    client = site.client(producer)
    stream = await client.sse(producer.stream_id)
    await stream.until_chunks(1)
    old = producer.offset(1)
    site.relay.call(Release(producer.stream_id, producer.attempt, producer.nonce, 1000))
    producer.claim()
    await stream.until_end()
    assert stream.complete
    assert "streamClosed" not in stream.control
    for live in ("", "live=sse&", "live=long-poll&"):
        answer = await client.read(producer.stream_id, f"{live}offset={old}")
        assert (answer.status, answer.code) == (410, "superseded")
        assert answer.json["attempt"] == 2
        assert answer.json["startOffset"] == "000002_0000000000_00000000"
    producer.append("second try", end="completed")
    from_its_start = await client.read(producer.stream_id, "offset=000002_0000000000_00000000")
    assert from_its_start.json == ["second try"]
    again = await client.sse(producer.stream_id)
    assert (await again.until_end()).chunks == ["second try"]


async def test_a_relay_that_has_not_heard_of_the_new_attempt_hands_out_nothing_old(
    make_site: MakeSite, any_relay_url: str
) -> None:
    """The reader was told of attempt 2 by another relay process."""
    site, relay = await troubled(make_site, any_relay_url)
    producer = site.producer()
    producer.append("first try")
    client = site.client(producer)
    before = await client.sse(producer.stream_id)
    await before.until_chunks(1)
    start = "offset=000002_0000000000_00000000"
    assert (await client.read(producer.stream_id, start)).json == []
    stream = await client.open(f"/v1/stream/{producer.stream_id}?live=sse&{start}")
    await stream.until_event("control")
    relay.deaf = True
    site.relay.call(Release(producer.stream_id, producer.attempt, producer.nonce, 1000))
    producer.claim()
    producer.append("second try", end="completed")
    assert (await stream.until_end()).chunks == ["second try"]


async def test_a_new_attempt_is_no_reset_for_those_who_got_nothing(site: Site) -> None:
    producer = site.producer()
    client = site.client(producer)
    start = producer.offset(0)
    stream = await client.sse(producer.stream_id)
    await stream.until_event("control")
    site.relay.call(Release(producer.stream_id, producer.attempt, producer.nonce, 1000))
    producer.claim()
    producer.append("second try", end="completed")
    assert (await stream.until_end()).chunks == ["second try"]
    assert (await client.read(producer.stream_id, f"offset={start}")).json == ["second try"]


async def test_a_resumed_attempt_goes_on_without_a_break(site: Site) -> None:
    producer = site.producer()
    client = site.client(producer)
    stream = await client.sse(producer.stream_id)
    producer.append(1, 2)
    producer.append(3)
    await stream.until_chunks(3)
    old = producer.offset(2)
    site.relay.call(Release(producer.stream_id, producer.attempt, producer.nonce, 1000))
    producer.claim(resume=True)
    producer.append(4, 5)
    producer.append(6, end="completed")
    assert (await stream.until_end()).chunks == [1, 2, 3, 4, 5, 6]
    for after in range(7):
        attempt = client.read(producer.stream_id, f"offset={producer.offset(after)}")
        assert (await attempt).json == producer.values(after)
    for query in (f"offset={old}", f"live=long-poll&offset={old}"):
        assert (await client.read(producer.stream_id, query)).json == [3, 4, 5, 6]
    again = await client.sse(producer.stream_id, old)
    assert (await again.until_end()).chunks == [3, 4, 5, 6]
    assert again.offsets[-1] == producer.offset(6)
    assert sorted(stream.offsets) == stream.offsets


async def test_a_lost_producer_is_shown_and_its_stream_ended(
    make_site: MakeSite, any_relay_url: str
) -> None:
    site = await make_site(any_relay_url, lease=0.2, reap_after=0.5)
    producer = site.producer()
    producer.append(1)
    stream = await site.client(producer).sse(producer.stream_id)
    await stream.until_status("stalled")
    assert stream.chunks == [1]
    await stream.until_end()
    assert stream.control["endReason"] == "producer-disconnected"
    assert stream.control["error"]["code"] == "producer-disconnected"


async def test_forgotten_scripts_are_loaded_again(make_site: MakeSite, redis_url: str) -> None:
    site = await make_site(redis_url)
    producer = site.producer()
    client_ = site.client(producer)
    with redis.Redis.from_url(redis_url) as client:
        for number in range(1, 4):
            client.script_flush()
            assert (await client_.read(producer.stream_id)).status == 200
            client.script_flush()
            producer.append(number)
    assert (await client_.read(producer.stream_id)).json == [1, 2, 3]


async def test_redis_restarts_empty_under_readers(
    make_site: MakeSite, own_redis: RedisServer
) -> None:
    site = await make_site(own_redis.url())
    producer = site.producer()
    client = site.client(producer)
    stream = await client.sse(producer.stream_id)
    producer.append(1)
    producer.append(2)
    await stream.until_chunks(2)
    own_redis.kill()
    ready = await client.get("/readyz")
    assert ready.status == 503
    refused = await client.read(producer.stream_id)
    assert (refused.status, refused.code) == (503, "relay-unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    assert "127.0.0.1" not in refused.body.decode()
    assert (await client.get("/healthz")).status == 200
    await asyncio.get_running_loop().run_in_executor(None, own_redis.start)
    site.relay.close()  # its connections are dead, and it does not try twice by itself
    producer.claim(nonce=producer.nonce, attempt=producer.attempt)
    producer.send(1, 2)
    producer.append(3, end="completed")
    await stream.until_end()
    assert stream.chunks == [1, 2, 3]
    assert stream.complete
    assert (await client.get("/readyz")).status == 200


async def test_a_shut_down_server_lets_readers_go_cleanly(site: Site) -> None:
    producer = site.producer()
    producer.append(1)
    streams = [await site.client(producer).sse(producer.stream_id) for _ in range(20)]
    for stream in streams:
        await stream.until_chunks(1)
    await site.app.drain()
    for stream in streams:
        await stream.until_end()
        assert stream.complete


async def test_readers_that_leave_are_forgotten(site: Site) -> None:
    producer = site.producer()
    client: Client = site.client(producer)
    streams = [await client.sse(producer.stream_id) for _ in range(10)]
    feed = site.app.start().hub.feeds[producer.stream_id]
    await eventually(lambda: len(feed.readers) == 10)
    for stream in streams:
        await stream.close()
    await eventually(lambda: not feed.readers)
    assert not feed.waiting
