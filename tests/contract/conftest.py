"""Both relays, behind one set of fixtures: what holds for one holds for the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from streamstraight_celery.relays.base import Relay, RelayOptions
from streamstraight_celery.relays.cluster.relay import ClusterRelay
from streamstraight_celery.relays.memory.relay import MemoryRelay
from streamstraight_celery.relays.memory.store import MemoryStore
from streamstraight_celery.relays.redis.relay import RedisRelay
from streamstraight_celery.testing.embedded import EmbeddedRedis

MakeRelay = Callable[..., Relay]


@pytest.fixture(scope="session")
def fakeredis_server() -> Iterator[EmbeddedRedis]:
    """What the embedded Redis falls back to where no real one can be had."""
    with EmbeddedRedis(prefer="fakeredis") as server:
        yield server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test on each store; on fakeredis those marked `fakeredis`.

    fakeredis runs the same scripts as Redis: one test of each script shows that it can, the others
    are about what its clock, its numbers and its streams might do otherwise.
    """
    if "make_relay" in metafunc.fixturenames:
        stores = ["memory", "redis", "cluster"]
        if metafunc.definition.get_closest_marker("fakeredis"):
            stores.append("fakeredis")
        metafunc.parametrize("make_relay", stores, indirect=True)


@pytest.fixture
def make_relay(request: pytest.FixtureRequest) -> Iterator[MakeRelay]:
    """A function that makes a relay with the given `RelayOptions`, on a store of its own."""
    made: list[Relay] = []

    def make(**options: int) -> Relay:
        wanted = RelayOptions(**options)  # type: ignore[arg-type]
        if request.param == "memory":
            relay: Relay = MemoryRelay(MemoryStore(wanted))
        elif request.param == "fakeredis":
            url = request.getfixturevalue("fakeredis_server").url
            with redis.Redis.from_url(url) as client:
                client.flushall()
            relay = RedisRelay(url, wanted)
        elif request.param == "cluster":
            cluster = request.getfixturevalue("cluster")
            cluster.flush()
            relay = ClusterRelay(cluster.url, wanted)
        else:
            relay = RedisRelay(request.getfixturevalue("redis_url"), wanted)
        made.append(relay)
        return relay

    yield make
    for relay in made:
        relay.close()


@pytest.fixture
def relay(make_relay: MakeRelay) -> Relay:
    return make_relay()
