"""The hub over the relay in memory, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from streamstraight_celery.errors import RelayUnavailableError, StreamNotFoundError
from streamstraight_celery.offsets import Verdict
from streamstraight_celery.relays.base import Page
from streamstraight_celery.relays.memory.relay import AsyncMemoryRelay, MemoryRelay
from streamstraight_celery.relays.memory.store import MemoryStore
from streamstraight_celery.relays.requests import Delete, Open, Read, Release
from streamstraight_celery.server.content import JSON
from streamstraight_celery.server.live.feed import Feed
from streamstraight_celery.server.live.hub import Hub, HubOptions
from streamstraight_celery.server.live.position import Position
from streamstraight_celery.server.live.reader import Reader
from streamstraight_celery.server.reads.durable_frames import DurableFrames
from tests.support.waiting import eventually_async as eventually

from .conftest import Clock
from .producer import Producer

DOOR = DurableFrames(lambda: "7")


class Counting(AsyncMemoryRelay):
    """Counts reads, and may fail."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.reads: list[Read] = []
        self.down = False

    async def read(self, reads: Sequence[Read]) -> list[Page | None]:
        if self.down:
            raise RelayUnavailableError("down")
        self.reads += reads
        await asyncio.sleep(0)
        return await super().read(reads)


@pytest.fixture
def counting(store: MemoryStore) -> Counting:
    return Counting(store)


@pytest.fixture
async def hub(counting: Counting, clock: Clock) -> AsyncIterator[Hub]:
    hub = Hub(counting, HubOptions(lease=10, reap_after=30, window_bytes=2000), now=clock)
    hub.start(background=False)
    yield hub
    await hub.close()


@pytest.fixture
def producer(memory_relay: MemoryRelay) -> Producer:
    return Producer(memory_relay).create().claim()


def joined(hub: Hub, feed: Feed, asked: Any = "-1") -> Reader:
    place = feed.locate(asked)
    assert isinstance(place, Position)
    reader = Reader(feed, place, DOOR)
    hub.join(reader)
    return reader


async def settled() -> None:
    """Let everything that is ready run."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_readers_that_come_together_cost_one_read(
    hub: Hub, counting: Counting, producer: Producer
) -> None:
    producer.append(1, 2)
    feeds = await asyncio.gather(*(hub.open(producer.stream_id) for _ in range(100)))
    assert len(set(map(id, feeds))) == 1
    assert len(counting.reads) == 1
    assert feeds[0].last == 2


async def test_an_unknown_stream_is_told_and_forgotten(hub: Hub, counting: Counting) -> None:
    results = await asyncio.gather(*(hub.open("nothing") for _ in range(3)), return_exceptions=True)
    assert all(isinstance(result, StreamNotFoundError) for result in results)
    assert not hub.feeds


async def test_a_relay_that_is_down_is_told_and_tried_again(
    hub: Hub, counting: Counting, producer: Producer
) -> None:
    counting.down = True
    with pytest.raises(RelayUnavailableError):
        await hub.open(producer.stream_id)
    counting.down = False
    assert (await hub.open(producer.stream_id)).last == 0


async def test_a_joiner_that_gives_up_does_not_hurt_the_others(
    hub: Hub, producer: Producer
) -> None:
    first = asyncio.ensure_future(hub.open(producer.stream_id))
    second = asyncio.ensure_future(hub.open(producer.stream_id))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).last == 0


async def test_notices_reach_waiting_readers(hub: Hub, producer: Producer) -> None:
    feed = await hub.open(producer.stream_id)
    readers = [joined(hub, feed) for _ in range(5)]
    waits = [reader.wait() for reader in readers]
    producer.append("news")
    await asyncio.wait_for(asyncio.gather(*waits), 1)
    assert len({id(feed.take(reader, feed.window)) for reader in readers}) == 1


async def test_an_end_is_read_from_the_log(hub: Hub, producer: Producer) -> None:
    feed = await hub.open(producer.stream_id)
    producer.append(1, end="producer-error", error='{"code":"x"}')
    await eventually(lambda: feed.end)
    assert (feed.end, feed.error) == ("producer-error", '{"code":"x"}')


async def test_quiet_streams_are_looked_at(
    hub: Hub, counting: Counting, producer: Producer, clock: Clock
) -> None:
    feed = await hub.open(producer.stream_id)
    await hub.check()
    await settled()
    assert len(counting.reads) == 1
    clock.advance(1.5)
    await hub.check()
    await settled()
    assert len(counting.reads) == 2
    producer.append(1)
    await settled()
    await hub.check()
    await settled()
    assert len(counting.reads) == 2
    assert feed.last == 1


async def test_quiet_streams_are_looked_at_together(
    hub: Hub, counting: Counting, memory_relay: MemoryRelay, clock: Clock
) -> None:
    for number in range(100):
        await hub.open(Producer(memory_relay, f"many-{number}").create().claim().stream_id)
    counting.reads.clear()
    clock.advance(2)
    await hub.check()
    await settled()
    assert len(counting.reads) == 100


async def test_a_failed_look_is_repeated(
    hub: Hub, counting: Counting, producer: Producer, clock: Clock
) -> None:
    feed = await hub.open(producer.stream_id)
    counting.down = True
    clock.advance(2)
    await hub.check()
    await settled()
    assert not feed.reading
    counting.down = False
    await hub.check()
    await settled()
    assert len(counting.reads) == 2


async def test_lost_producers_are_reaped_by_the_relays_clock(
    hub: Hub, producer: Producer, clock: Clock
) -> None:
    feed = await hub.open(producer.stream_id)
    for seconds in (11, 28):
        clock.advance(seconds)
        await hub.check()
        await settled()
        assert not feed.over
    clock.advance(2)
    await hub.check()
    await eventually(lambda: feed.over)
    assert feed.end == "producer-disconnected"


async def test_streams_that_nobody_reads_are_forgotten(
    hub: Hub, producer: Producer, clock: Clock
) -> None:
    feed = await hub.open(producer.stream_id)
    reader = joined(hub, feed)
    clock.advance(60)
    hub.tick()
    assert producer.stream_id in hub.feeds
    hub.leave(reader)
    clock.advance(9)
    hub.tick()
    assert producer.stream_id in hub.feeds
    clock.advance(2)
    hub.tick()
    assert producer.stream_id not in hub.feeds
    again = await hub.open(producer.stream_id)
    assert again is not feed


async def test_a_stream_that_was_replaced_is_looked_after_until_its_readers_have_left(
    hub: Hub, producer: Producer
) -> None:
    producer.append(1)
    producer.end()
    feed = await hub.open(producer.stream_id)
    reader = joined(hub, feed)
    producer.relay.call(Delete(producer.stream_id))
    await eventually(lambda: feed.deleted)
    new = await hub.open(producer.create().claim().stream_id)
    assert new is not feed
    wait = reader.wait()
    feed.starving = True  # as after a read that failed
    hub.tick()
    await asyncio.wait_for(wait, 1)
    assert set(hub.every_feed()) == {feed, new}
    hub.leave(reader)
    hub.tick()
    assert hub.every_feed() == [new]


async def test_a_stream_that_has_ended_is_not_shown_when_its_life_is_over(
    hub: Hub, producer: Producer, clock: Clock, store: MemoryStore
) -> None:
    producer.append(1)
    producer.end()
    await hub.open(producer.stream_id)
    clock.advance(store.options.ttl / 1000 - 5)
    feed = await hub.open(producer.stream_id)
    joined(hub, feed)
    clock.advance(6)
    with pytest.raises(StreamNotFoundError):
        await hub.open(producer.stream_id)


async def test_a_stream_that_has_ended_lives_on_with_its_readers(
    hub: Hub, memory_relay: MemoryRelay, clock: Clock
) -> None:
    memory_relay.call(
        Open(
            stream_id="s", config="", nonce="aaaaaaaa", kind="json", content_type=JSON, ttl=10_000,
            end="completed", count=1, data=b"1",
        )
    )  # fmt: skip
    for _ in range(5):
        assert (await hub.open("s")).last == 1
        clock.advance(9)
        hub.tick()


async def test_many_readers_of_a_stream_that_has_ended_cost_few_reads(
    hub: Hub, counting: Counting, producer: Producer, clock: Clock
) -> None:
    producer.append(1)
    producer.end()
    for number in range(1, 4):
        for _ in range(100):
            await hub.open(producer.stream_id)
        clock.advance(2)
        feeds = await asyncio.gather(*(hub.open(producer.stream_id) for _ in range(100)))
        assert len(set(map(id, feeds))) == 1
        assert len(counting.reads) == 1 + number


async def test_a_stream_that_has_ended_is_shown_while_the_relay_is_away(
    hub: Hub, counting: Counting, producer: Producer, clock: Clock
) -> None:
    producer.append(1)
    producer.end()
    feed = await hub.open(producer.stream_id)
    clock.advance(5)
    counting.down = True
    assert await hub.open(producer.stream_id) is feed


async def test_a_reader_before_the_window_pages_from_the_log(
    hub: Hub, counting: Counting, producer: Producer
) -> None:
    for number in range(100):
        producer.append("x" * 100, number)
    feed = await hub.open(producer.stream_id)
    assert feed.window.base == 200
    pages = await asyncio.gather(*(hub.backlog(feed, 0) for _ in range(50)))
    assert len(set(map(id, pages))) == 1
    assert len(counting.reads) == 2
    assert all(page is not None and page.last == 200 for page in pages)


async def test_a_backlog_that_is_not_there_is_tried_again(
    hub: Hub, producer: Producer, memory_relay: MemoryRelay, store: MemoryStore
) -> None:
    for _ in range(100):
        producer.append("x" * 100)
    feed = await hub.open(producer.stream_id)
    reader = joined(hub, feed)
    stream = store._streams[producer.stream_id]
    entries, stream.entries = stream.entries, []
    assert await hub.backlog(feed, 0) is None
    wait = reader.wait()
    stream.entries = entries
    hub.tick()
    await asyncio.wait_for(wait, 1)
    page = await hub.backlog(feed, 0)
    assert page is not None
    assert page.last == 100


async def test_the_backlog_of_a_stream_that_ended_is_not_gone_while_the_relay_is_away(
    hub: Hub, counting: Counting, producer: Producer
) -> None:
    for _ in range(100):
        producer.append("x" * 100)
    producer.end()
    feed = await hub.open(producer.stream_id)
    reader = joined(hub, feed)
    verdict = reader.verdict
    counting.down = True
    asking = asyncio.ensure_future(hub.backlog_of(reader))
    await eventually(lambda: feed.waiting or asking.done())
    counting.down = False
    hub.tick()
    assert await asyncio.wait_for(asking, 1) is None
    assert reader.verdict is verdict
    page = await hub.backlog_of(reader)
    assert page is not None
    assert page.last == 100


async def test_the_log_of_another_attempt_is_no_backlog(hub: Hub, producer: Producer) -> None:
    for _ in range(100):
        producer.append("x" * 100)
    feed = await hub.open(producer.stream_id)
    reader = joined(hub, feed, "now")
    producer.relay.call(Release(producer.stream_id, 1, producer.nonce, 1000))
    producer.claim()
    producer.append("other")
    assert await hub.backlog(feed, 0) is None
    await eventually(lambda: reader.verdict is Verdict.SUPERSEDED)


async def test_closing_ends_everything(counting: Counting, producer: Producer) -> None:
    hub = Hub(counting)
    hub.start()
    await hub.open(producer.stream_id)
    await hub.close()
    assert not hub.feeds


async def test_a_stream_that_took_long_to_open_is_not_forgotten_before_its_reader_comes(
    hub: Hub, counting: Counting, producer: Producer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()
    read = counting.read

    async def slowly(reads: Sequence[Read]) -> list[Page | None]:
        asked.set()
        await go_on.wait()
        return await read(reads)

    monkeypatch.setattr(counting, "read", slowly)
    opening = asyncio.ensure_future(hub.open(producer.stream_id))
    await asked.wait()
    clock.advance(hub.options.keep_idle + 1)
    go_on.set()
    while not opening.done():
        hub.tick()
        await asyncio.sleep(0)
    assert hub.feeds[producer.stream_id] is await opening


async def test_a_look_at_all_streams_costs_no_second_read_of_one_that_is_being_opened(
    hub: Hub, counting: Counting, producer: Producer
) -> None:
    producer.append(1)
    opening = asyncio.ensure_future(hub.open(producer.stream_id))
    await asyncio.sleep(0)
    assert producer.stream_id in hub.feeds
    hub._on_gap()
    assert (await opening).last == 1
    await settled()
    assert sum(read.seq == 0 for read in counting.reads) == 1
