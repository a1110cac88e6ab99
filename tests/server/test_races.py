"""What happens between two awaits: ends, attempts and gaps at the worst moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from streamstraight_celery.offsets import Offset, Verdict
from streamstraight_celery.relays.base import OnGap, OnNotice, Page, RelayOptions, Watcher
from streamstraight_celery.relays.memory.relay import AsyncMemoryRelay, MemoryRelay
from streamstraight_celery.relays.memory.store import MemoryStore
from streamstraight_celery.relays.redis.async_relay import SCRIPT_ENTRIES, AsyncRedisRelay
from streamstraight_celery.relays.redis.relay import RedisRelay
from streamstraight_celery.relays.requests import Read, Release
from streamstraight_celery.server.live.feed import Feed
from streamstraight_celery.server.live.hub import Hub
from streamstraight_celery.server.live.position import Position
from streamstraight_celery.server.reads.durable import ReadCall
from streamstraight_celery.server.reads.durable_frames import DurableFrames
from streamstraight_celery.server.reads.handlers import Reading
from streamstraight_celery.server.reads.sse_response import SseConnection
from streamstraight_celery.settings import StreamSettings
from tests.support.waiting import eventually_async as eventually

from .producer import Producer

DOOR = DurableFrames(lambda: "7")


class Interrupted(AsyncMemoryRelay):
    """Runs something after each read; shows its watcher's callbacks."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.then: Callable[[], None] | None = None
        self.deaf = False
        self.on_gap: OnGap | None = None

    async def read(self, reads: Sequence[Read]) -> list[Page | None]:
        pages = await super().read(reads)
        if self.then is not None:
            self.then()
        return pages

    def watch(self, on_notice: OnNotice, on_gap: OnGap) -> Watcher:
        self.on_gap = on_gap
        return super().watch(lambda *heard: None if self.deaf else on_notice(*heard), on_gap)


class FakeWire:
    """A connection that takes everything, or nothing."""

    def __init__(self) -> None:
        self.on_lost: Callable[[], None] | None = None
        self.writable = True
        self.written: list[bytes] = []

    def write(self, chunk: bytes) -> None:
        self.written.append(chunk)

    def abort(self) -> None:
        self.written.append(b"aborted")


@pytest.fixture
def relay(store: MemoryStore) -> Interrupted:
    return Interrupted(store)


@pytest.fixture
async def hub(relay: Interrupted) -> AsyncIterator[Hub]:
    hub = Hub(relay)
    hub.start(background=False)
    yield hub
    await hub.close()


@pytest.fixture
def producer(memory_relay: MemoryRelay) -> Producer:
    return Producer(memory_relay).create().claim()


def superseded(producer: Producer) -> None:
    """A new attempt begins."""
    producer.relay.call(Release(producer.stream_id, producer.attempt, producer.nonce, 1000))
    producer.claim()


def connection(hub: Hub, feed: Feed, asked: Any = "-1", **options: Any) -> SseConnection:
    place = feed.locate(asked)
    assert isinstance(place, Position)
    made = SseConnection(
        feed, place, DOOR, "",
        hub=hub, deadline=1e9, ping_interval=1e9, send_timeout=1e9, **options,
    )  # fmt: skip
    hub.join(made)
    return made


async def never() -> Any:
    await asyncio.Event().wait()


async def test_an_end_that_comes_while_the_last_chunk_is_sent(hub: Hub, producer: Producer) -> None:
    producer.append(1)
    feed = await hub.open(producer.stream_id)
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))
        if b"data:[1]" in sent[-1]:
            producer.end()
            await eventually(lambda: feed.over)

    await connection(hub, feed).serve({"type": "http.response.start"}, never, send)
    assert b"".join(sent).count(b"streamClosed") == 1
    assert sent[-1] == b""
    assert not feed.readers


async def test_an_attempt_that_begins_while_a_chunk_is_sent(hub: Hub, producer: Producer) -> None:
    producer.append(1)
    feed = await hub.open(producer.stream_id)
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))
        if b"data:[1]" in sent[-1]:
            superseded(producer)
            producer.append("a", "b", "c")
            await eventually(lambda: feed.attempt == 2 and feed.last == 3)

    await connection(hub, feed).serve({"type": "http.response.start"}, never, send)
    assert b'"a"' not in b"".join(sent)
    assert b"streamClosed" not in b"".join(sent)


async def test_a_gap_makes_the_hub_read_what_it_missed(
    hub: Hub, relay: Interrupted, producer: Producer
) -> None:
    feed = await hub.open(producer.stream_id)
    relay.deaf = True
    producer.append(1)
    assert relay.on_gap is not None
    relay.on_gap()
    await eventually(lambda: feed.last == 1)


def blocked(reader: SseConnection, wire: FakeWire, why: str) -> None:
    if why == "verdict":
        reader.verdict = Verdict.SUPERSEDED
    elif why == "ahead":
        reader.ahead = Offset(9, 1, "aaaaaaaa")
    elif why == "closing":
        reader.closing = True
    elif why == "left":
        reader.left = True
    elif why == "full":
        wire.writable = False
    elif why == "before the window":
        reader.feed.window.base = 1
    elif why == "ended":
        reader.feed.end = "completed"
    elif why == "nothing new":
        reader.seq = 1


@pytest.mark.parametrize(
    "why",
    ["verdict", "ahead", "closing", "left", "full", "before the window", "ended", "nothing new"],
)
async def test_what_is_not_the_plain_case_is_left_to_the_task(
    hub: Hub, producer: Producer, why: str
) -> None:
    producer.append(1)
    feed = await hub.open(producer.stream_id)
    wire = FakeWire()
    reader = connection(hub, feed, wire=wire)
    blocked(reader, wire, why)
    assert not reader.push()
    assert not wire.written


async def test_the_plain_case_is_written_at_once(hub: Hub, producer: Producer) -> None:
    feed = await hub.open(producer.stream_id)
    wires = [FakeWire() for _ in range(3)]
    readers = [connection(hub, feed, wire=wire) for wire in wires]
    waits = [reader.wait() for reader in readers]
    producer.append({"n": 1})
    await eventually(lambda: all(wire.written for wire in wires))
    assert len({id(wire.written[0]) for wire in wires}) == 1
    size, _, rest = wires[0].written[0].partition(b"\r\n")
    assert len(rest) == int(size, 16) + 2
    assert not any(wait.done() for wait in waits)
    assert feed.waiting == set(readers)


async def test_one_reader_that_fails_does_not_stop_the_others(hub: Hub, producer: Producer) -> None:
    class Broken(FakeWire):
        def write(self, chunk: bytes) -> None:
            raise RuntimeError("broken")

    feed = await hub.open(producer.stream_id)
    wires = [Broken() if number % 2 else FakeWire() for number in range(10)]
    waits = [connection(hub, feed, wire=wire).wait() for wire in wires]
    producer.append(1)
    await eventually(lambda: all(wire.written for wire in wires[::2]))
    assert [wait.done() for wait in waits] == [False, True] * 5


async def test_notices_that_come_together_go_out_together(hub: Hub, producer: Producer) -> None:
    feed = await hub.open(producer.stream_id)
    wire = FakeWire()
    connection(hub, feed, wire=wire).wait()
    for number in range(5):
        producer.append(number)
    await eventually(lambda: wire.written)
    assert len(wire.written) == 1
    assert b"data:[1,2,3,4]" in wire.written[0]


async def test_a_catch_up_never_mixes_attempts(
    hub: Hub, relay: Interrupted, producer: Producer, memory_relay: MemoryRelay
) -> None:
    for _ in range(300):
        producer.append("old")
    reads = 0

    def then() -> None:
        nonlocal reads
        reads += 1
        if reads == 1:
            superseded(producer)
            for _ in range(400):
                producer.append("new")

    relay.then = then
    reply = await Reading(hub, StreamSettings()).catch_up(producer.stream_id, ReadCall("", "-1"))
    assert b"old" not in reply.body
    assert reply.body.count(b"new") == 400


async def test_a_long_page_never_mixes_attempts(redis_url: str) -> None:
    producer = Producer(RedisRelay(redis_url, RelayOptions())).create().claim()
    for _ in range(2 * SCRIPT_ENTRIES):
        producer.append("old")

    class Slow(AsyncRedisRelay):
        async def _lengthen(self, reads: Sequence[Read], answers: list[Any]) -> None:
            superseded(producer)
            for _ in range(3 * SCRIPT_ENTRIES):
                producer.append("new")
            await super()._lengthen(reads, answers)

    relay = Slow(redis_url, RelayOptions())
    page = (await relay.read([Read(producer.stream_id, 0, 0, 1000)]))[0]
    assert page is not None
    assert page.state.attempt == 1
    assert {entry.data for entry in page.entries} == {b'"old"'}
    await relay.close()
