"""Another Redis takes over: a replica that lagged, a node of a cluster, one after a sentinel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.faults.oracle import Loss, judge_stream
from tests.faults.stage import LEASE, POLL, REAP_AFTER, Cast, until
from tests.support.clusters import Cluster, SentinelGroup, Server, wait_for
from tests.support.keys import without_index
from tests.support.proxy import Proxy

TOTAL = 300
BOUND = LEASE + REAP_AFTER + 2 * POLL + 15.0
# A failover takes a second or two here; a producer that waits for it is not lost.
PATIENT = {"lease": 6, "reap_after": 6}

MakeCast = Callable[..., Cast]


@pytest.fixture
def make_cast(tmp_path: Path) -> Iterator[MakeCast]:
    """A cast on the Redis of that URL."""
    made: list[Cast] = []

    def make(for_producers: str, for_relays: str = "", **settings: float) -> Cast:
        made.append(
            Cast(tmp_path, for_producers, for_relays or for_producers, 1, **{**PATIENT, **settings})
        )
        return made[-1]

    yield make
    for cast in made:
        cast.close()


async def flowing(cast: Cast, name: str = "") -> str:
    """A stream that flows, with three readers."""
    name = await asyncio.to_thread(cast.announce, name)
    for door in ("sse", "sse", "long-poll"):
        cast.read(name, door)
    cast.producers[0].begin(name, TOTAL, pace=0.01)
    await cast.readers_have(name, 10)
    return name


async def ends_well(cast: Cast, *names: str) -> None:
    """Every reader got everything, and noticed nothing."""
    for name in names:
        await until(lambda name=name: cast.stream(name).ended, f"{name}: {cast.stream(name)}")
        cast.read(name)
        await cast.readers_are_done(name)
        records = cast.records(name)
        deadline = time.monotonic() + BOUND
        assert judge_stream(name, cast.stream(name), records, deadline=deadline) == []
        assert {record.end for record in records} == {"completed"}
        assert not any(record.resets for record in records)


class Pair:
    """A primary and a replica that follows it through a proxy, and a proxy for each client side."""

    def __init__(self) -> None:
        self.primary = Server()
        self.between = Proxy(self.primary.port)
        self.replica = Server("--replicaof", f"127.0.0.1 {self.between.port}")
        wait_for(
            lambda: self.replica.client.info("replication")["master_link_status"] == "up",
            "the replica follows",
        )
        self.to_producers = Proxy(self.primary.port)
        self.to_relays = Proxy(self.primary.port)

    def close(self) -> None:
        for proxy in (self.to_producers, self.to_relays, self.between):
            proxy.close()
        self.replica.close()
        self.primary.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


def _keys_expire(server: Server) -> None:
    keys = without_index(server.client.scan_iter())
    assert [key for key in keys if server.client.pttl(key) == -1] == []


async def test_a_replica_that_lagged_is_promoted(pair: Pair, make_cast: MakeCast) -> None:
    """The old primary goes on to acknowledge what the new one never gets."""
    cast = make_cast(
        f"redis://127.0.0.1:{pair.to_producers.port}/0",
        f"redis://127.0.0.1:{pair.to_relays.port}/0",
    )
    name = await flowing(cast)
    pair.between.freeze()
    before = len(cast.records(name)[0].life.chunks)
    await cast.readers_have(name, before + 20)
    # Promoted: readers' relays see the new one at once, the producer for now the old one.
    pair.replica.client.execute_command("REPLICAOF", "NO", "ONE")
    pair.to_relays.target = pair.replica.port
    pair.to_relays.cut()
    acked = next(iter(cast.stream(name).attempts.values())).acked
    await until(
        lambda: next(iter(cast.stream(name).attempts.values())).acked > acked + 20,
        "the old primary goes on to acknowledge",
    )
    lost = pair.replica.client.hget(f"ss:{{{name}}}:m", "q")
    assert int(lost) < acked
    pair.to_producers.target = pair.replica.port
    pair.to_producers.cut()
    await ends_well(cast, name)
    _keys_expire(pair.replica)


@pytest.mark.faults
async def test_what_only_the_old_primary_knew_to_be_finished_is_told(
    pair: Pair, make_cast: MakeCast
) -> None:
    cast = make_cast(
        f"redis://127.0.0.1:{pair.to_producers.port}/0",
        f"redis://127.0.0.1:{pair.to_relays.port}/0",
        lease=LEASE, reap_after=REAP_AFTER,
    )  # fmt: skip
    name = await flowing(cast)
    pair.between.freeze()
    pair.replica.client.execute_command("REPLICAOF", "NO", "ONE")
    pair.to_relays.target = pair.replica.port
    pair.to_relays.cut()
    since = time.monotonic()
    await until(lambda: cast.stream(name).ended, "it finishes on the old primary")
    await cast.readers_are_done(name)
    losses = [Loss(since, time.monotonic())]
    records = cast.records(name)
    deadline = cast.stream(name).attempts.popitem()[1].ended + BOUND
    assert judge_stream(name, cast.stream(name), records, losses=losses, deadline=deadline) == []
    assert {record.end for record in records} <= {"gone", "producer-disconnected"}


@pytest.mark.slow
async def test_a_node_of_a_cluster_dies(make_cast: MakeCast) -> None:
    cluster = await asyncio.to_thread(Cluster, 1)
    try:
        cast = make_cast(f"{cluster.url}?socket_timeout=2")
        names = [await flowing(cast, f"stream-{number}") for number in range(4)]
        victim = cluster.node_of(names[0])
        others = [name for name in names if cluster.node_of(name) is not victim]
        assert others, "all streams are on one node"
        victim.kill()
        before = len(cast.records(others[0])[0].life.chunks)
        await until(
            lambda: len(cast.records(others[0])[0].life.chunks) > before + 20,
            "streams of other nodes go on",
        )
        await ends_well(cast, *names)
        assert cluster.node_of(names[0]) is not victim
        for node in cluster.nodes:
            if node is not victim and node.client.info("replication")["role"] == "master":
                _keys_expire(node)
    finally:
        cluster.close()


@pytest.mark.faults
async def test_a_slot_is_handed_over_by_a_cluster(make_cast: MakeCast) -> None:
    """A planned failover: the old primary lives on as a replica, and says MOVED."""
    cluster = await asyncio.to_thread(Cluster, 1)
    try:
        cast = make_cast(cluster.url)
        name = await flowing(cast)
        primary = cluster.node_of(name)
        replica = cluster.nodes[3 + cluster.primaries.index(primary)]
        replica.client.execute_command("CLUSTER", "FAILOVER")
        await until(lambda: cluster.node_of(name) is replica, "the replica takes over")
        await ends_well(cast, name)
    finally:
        cluster.close()


@pytest.mark.faults
async def test_a_slot_is_moved_by_a_cluster(make_cast: MakeCast) -> None:
    """Key by key, from node to node, as `redis-cli --cluster reshard` does."""
    cluster = await asyncio.to_thread(Cluster)
    try:
        cast = make_cast(cluster.url)
        name = await flowing(cast)
        life = cast.records(name)[0].life
        with cluster.moving(name) as moving:
            for key in moving.left():
                moving.move(key)
            before = len(life.chunks)
            await until(lambda: len(life.chunks) > before + 20, "it goes on, half moved")
            moving.finish()
            await ends_well(cast, name)
    finally:
        cluster.close()


@pytest.mark.slow
async def test_a_sentinel_promotes_the_replica(make_cast: MakeCast) -> None:
    group = await asyncio.to_thread(SentinelGroup)
    try:
        cast = make_cast(group.url)
        name = await flowing(cast)
        with redis.Redis(port=group.primary.port, db=1) as client:
            assert client.exists(f"ss:{{{name}}}:m")
        group.primary.kill()
        await until(lambda: group.current() == group.replica.port, "the replica is promoted")
        await ends_well(cast, name)
    finally:
        group.close()
