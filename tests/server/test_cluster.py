"""The relay server on a Redis Cluster: reads across nodes, notices over sharded channels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from streamstraight_celery.errors import RelayUnavailableError
from streamstraight_celery.relays.base import Notice, Page, RelayOptions
from streamstraight_celery.relays.cluster.async_relay import AsyncClusterRelay, ClusterWatcher
from streamstraight_celery.relays.cluster.relay import ClusterRelay
from streamstraight_celery.relays.cluster.slots import SlotMap
from streamstraight_celery.relays.requests import Create, Read, Renew
from tests.support.clusters import Cluster, SentinelGroup
from tests.support.waiting import eventually_async as eventually

from .conftest import MakeSite
from .producer import Producer

NAMES = [f"stream-{number}" for number in range(12)]


class Heard:
    def __init__(self) -> None:
        self.notices: list[tuple[str, Notice]] = []
        self.gaps = 0

    def on_notice(self, stream_id: str, notice: Notice) -> None:
        self.notices.append((stream_id, notice))

    def on_gap(self) -> None:
        self.gaps += 1

    def last(self) -> dict[str, int]:
        return {name: notice.last for name, notice in self.notices}


@pytest.fixture
async def relay(cluster: Cluster) -> AsyncIterator[AsyncClusterRelay]:
    cluster.flush()
    relay = AsyncClusterRelay(cluster.url, RelayOptions())
    yield relay
    await relay.close()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def watcher(relay: AsyncClusterRelay, heard: Heard) -> AsyncIterator[ClusterWatcher]:
    watcher = relay.watch(heard.on_notice, heard.on_gap)
    assert isinstance(watcher, ClusterWatcher)
    yield watcher
    await watcher.close()


def producers(cluster: Cluster) -> list[Producer]:
    relay = ClusterRelay(cluster.url, RelayOptions())
    return [Producer(relay, name).create().claim() for name in NAMES]


def channels(cluster: Cluster) -> list[list[bytes]]:
    return [
        node.client.execute_command("PUBSUB", "SHARDCHANNELS") for node in cluster.primaries
    ]  # fmt: skip


async def test_requests_and_reads_go_to_all_nodes(
    cluster: Cluster, relay: AsyncClusterRelay
) -> None:
    answers = await relay.execute([Create(name, name) for name in NAMES])
    assert {answer.kind for answer in answers} == {"ok"}
    pages = await relay.read([Read(name) for name in (*NAMES, "never")])
    assert [page and page.state.owner for page in pages] == [*NAMES, None]
    await relay.ping()


async def test_long_pages_are_read_too(cluster: Cluster, relay: AsyncClusterRelay) -> None:
    producer = producers(cluster)[0]
    for number in range(150):
        producer.append(number)
    page = (await relay.read([Read(producer.stream_id, 0, 0, 1000)]))[0]
    assert page is not None
    assert [int(entry.data) for entry in page.entries] == list(range(150))


async def test_notices_come_over_sharded_channels(
    cluster: Cluster, watcher: ClusterWatcher, heard: Heard
) -> None:
    for name in NAMES:
        await watcher.subscribe(name)
    assert all(channels(cluster))
    for producer in producers(cluster):
        producer.append(1)
    await eventually(lambda: heard.last() == dict.fromkeys(NAMES, 1))
    watcher.unsubscribe(NAMES[0])
    await eventually(lambda: sum(map(len, channels(cluster))) == len(NAMES) - 1)


async def test_streams_follow_their_slots(
    cluster: Cluster, relay: AsyncClusterRelay, watcher: ClusterWatcher, heard: Heard
) -> None:
    """The watcher begins with slots that are no more: every node refuses, and it looks anew."""
    known = await relay.slots()
    turned = known.primaries[1:] + known.primaries[:1]
    relay._slots = SlotMap(known.starts, known.ends, turned, known.publish)
    await asyncio.gather(*[watcher.subscribe(name) for name in NAMES])
    await eventually(lambda: sum(map(len, channels(cluster))) == len(NAMES), timeout=30)
    assert heard.gaps
    for producer in producers(cluster):
        producer.append(1)
    await eventually(lambda: heard.last() == dict.fromkeys(NAMES, 1))


async def test_requests_follow_their_slots(cluster: Cluster, relay: AsyncClusterRelay) -> None:
    await relay.execute([Create(name, name) for name in NAMES])
    known = await relay.slots()
    turned = known.primaries[1:] + known.primaries[:1]
    relay._slots = SlotMap(known.starts, known.ends, turned, known.publish)
    pages = await relay.read([Read(name) for name in NAMES])
    assert [page and page.state.owner for page in pages] == NAMES
    answers = await relay.execute([Renew(name, 1, "aaaaaaaa") for name in NAMES])
    assert {answer.kind for answer in answers} == {"unknown"}


async def test_a_site_on_a_cluster(make_site: MakeSite, cluster: Cluster) -> None:
    site = await make_site(cluster.url)
    producer = site.producer("on-a-cluster")
    stream = await site.client(producer).sse(producer.stream_id)
    for number in range(5):
        producer.append(number)
        await stream.until_chunks(number + 1)
    producer.end()
    await stream.until_end()
    assert (stream.chunks, stream.control["endReason"]) == ([0, 1, 2, 3, 4], "completed")


async def test_a_reader_notices_nothing_of_a_slot_that_is_moved(
    make_site: MakeSite, cluster: Cluster
) -> None:
    site = await make_site(cluster.url)
    producer = site.producer("on-the-move")
    for number in range(100):
        producer.append(number)
    stream = await site.client(producer).sse(producer.stream_id)
    await stream.until_chunks(100)
    with cluster.moving(producer.stream_id) as moving:
        producer.append(100)
        await stream.until_chunks(101)
        moving.move()
        producer.append(101)
        await stream.until_chunks(102)
        late = await site.client(producer).sse(producer.stream_id)
        await late.until_chunks(102)
        moving.finish()
    producer.append(102)
    await stream.until_chunks(103)
    producer.end()
    for reader in (stream, late):
        await reader.until_end()
        assert (reader.chunks, reader.control["endReason"]) == ([*range(103)], "completed")


async def test_a_stream_that_cannot_be_read_holds_up_no_other(
    make_site: MakeSite, cluster: Cluster, relay: AsyncClusterRelay
) -> None:
    site = await make_site(cluster.url)
    stuck, other = site.producer("stuck"), site.producer("other")
    for producer in (stuck, other):
        producer.append(1)
    streams = [await site.client(each).sse(each.stream_id) for each in (stuck, other)]
    for stream in streams:
        await stream.until_chunks(1)
    with cluster.moving("stuck") as moving:
        moving.move(b"ss:{stuck}:m")
        pages = await relay.read_each([Read("stuck"), Read("other")])
        assert isinstance(pages[0], RelayUnavailableError)
        assert isinstance(pages[1], Page)
        # The log has to be read: who listens has missed a notice.
        for node in cluster.primaries:
            node.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        other.append(2)
        await streams[1].until_chunks(2)
    stuck.append(2)
    for producer, stream in zip((stuck, other), streams, strict=True):
        await stream.until_chunks(2)
        producer.end()
        await stream.until_end()
        assert stream.chunks == [1, 2]


@pytest.mark.faults
async def test_a_site_behind_a_sentinel(make_site: MakeSite) -> None:
    group = await asyncio.to_thread(SentinelGroup)
    try:
        site = await make_site(group.url)
        producer = site.producer()
        stream = await site.client(producer).sse(producer.stream_id)
        for number in range(5):
            producer.append(number)
            await stream.until_chunks(number + 1)
        producer.end()
        assert (await stream.until_end()).chunks == [0, 1, 2, 3, 4]
        site.relay.close()
    finally:
        group.close()
