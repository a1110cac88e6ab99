"""What only a Redis Cluster, or the URLs with several hosts, can go through."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from streamstraight_celery.errors import ConfigurationError, RelayUnavailableError
from streamstraight_celery.relays import open_async_relay, open_relay
from streamstraight_celery.relays.base import RelayOptions
from streamstraight_celery.relays.cluster.async_relay import AsyncClusterRelay
from streamstraight_celery.relays.cluster.relay import ClusterRelay
from streamstraight_celery.relays.cluster.slots import SHARDED_PUBLISH, SlotMap, parse_slots
from streamstraight_celery.relays.redis.relay import RedisRelay
from streamstraight_celery.relays.requests import Answer, Append, Claim, Create, Read
from streamstraight_celery.relays.urls import HostsUrl, parse_hosts_url
from streamstraight_celery.settings import StreamSettings
from tests.conftest import RedisServer, free_port
from tests.support.clusters import Cluster, Server
from tests.support.keys import without_index

NAMES = [f"stream-{number}" for number in range(12)]


@pytest.fixture
def relay(cluster: Cluster) -> Iterator[ClusterRelay]:
    cluster.flush()
    relay = ClusterRelay(cluster.url, RelayOptions())
    yield relay
    relay.close()


def test_requests_go_to_all_nodes_and_answers_come_back_in_order(
    cluster: Cluster, relay: ClusterRelay
) -> None:
    answers = relay.execute([Create(name, f"owner of {name}") for name in NAMES])
    assert {answer.kind for answer in answers} == {"ok"}
    assert [relay.state(name).owner for name in NAMES] == [f"owner of {name}" for name in NAMES]
    kept = [len(without_index(node.client.scan_iter())) for node in cluster.primaries]
    assert sum(kept) == len(NAMES)
    assert all(kept)


def test_all_keys_of_a_stream_are_on_one_node(cluster: Cluster, relay: ClusterRelay) -> None:
    relay.call(Claim("s", "aaaaaaaa"))
    relay.call(Append("s", 1, "aaaaaaaa", 1, 1, b"1"))
    kept = {node: without_index(node.client.scan_iter()) for node in cluster.primaries}
    assert kept.pop(cluster.node_of("s")) == [b"ss:{s}:m", b"ss:{s}:s"]
    assert not any(kept.values())


def test_a_request_to_a_wrong_node_is_sent_to_the_right_one(
    cluster: Cluster, relay: ClusterRelay
) -> None:
    relay.call(Create("s", "me"))
    known = relay._slots
    assert known is not None
    turned = known.primaries[1:] + known.primaries[:1]
    relay._slots = SlotMap(known.starts, known.ends, turned, known.publish)
    assert relay.state("s").owner == "me"
    assert relay._slots is None or relay._slots == known


def test_a_stream_is_served_at_every_step_of_a_move(cluster: Cluster, relay: ClusterRelay) -> None:
    relay.call(Claim("s", "aaaaaaaa"))
    appends = [Append("s", 1, "aaaaaaaa", seq, 1, b"%d" % seq) for seq in range(1, 6)]
    assert relay.call(appends[0]).kind == "ok"
    with cluster.moving("s") as moving:
        assert relay.call(appends[1]) == Answer("ok", 2)
        moving.move()
        # The other node has the keys, but not the slot; it may not know the scripts.
        moving.target.client.script_flush()
        assert relay.call(appends[2]) == Answer("ok", 3)
        assert relay.state("s").last == 3
        answers = relay.execute([appends[3], Create("other", "me")])
        assert [answer.kind for answer in answers] == ["ok", "ok"]
        moving.finish()
        assert relay.call(appends[4]) == Answer("ok", 5)
        assert cluster.node_of("s") is moving.target
        page = relay.read(Read("s", 1, limit=10))
    assert page is not None
    assert [entry.data for entry in page.entries] == [b"1", b"2", b"3", b"4", b"5"]


def test_a_stream_of_which_half_has_moved_pauses(cluster: Cluster, relay: ClusterRelay) -> None:
    relay.call(Claim("s", "aaaaaaaa"))
    relay.call(Append("s", 1, "aaaaaaaa", 1, 1, b"1"))
    append = Append("s", 1, "aaaaaaaa", 2, 1, b"2")
    with cluster.moving("s") as moving:
        moving.move(b"ss:{s}:m")
        kinds = [answer.kind for answer in relay.execute([append, Create("other", "me")])]
        assert kinds == ["error", "ok"]
        moving.move()
        assert relay.call(append) == Answer("ok", 2)


def test_a_node_of_a_cluster_is_not_a_redis_of_its_own(cluster: Cluster) -> None:
    foreign = next(node for node in cluster.primaries if node is not cluster.node_of("s"))
    relay = RedisRelay(f"redis://127.0.0.1:{foreign.port}/0", RelayOptions())
    with pytest.raises(RelayUnavailableError, match=r"write redis\+cluster://"):
        relay.call(Create("s", "me"))
    with pytest.raises(RelayUnavailableError, match=r"write redis\+cluster://"):
        relay.read(Read("s"))
    relay.close()


def test_a_redis_of_its_own_is_no_cluster(redis_server: RedisServer) -> None:
    relay = ClusterRelay(f"redis+cluster://127.0.0.1:{redis_server.port}/", RelayOptions())
    with pytest.raises(ConfigurationError, match=r"write redis:// instead of redis\+cluster://"):
        relay.call(Create("s", "me"))


@pytest.fixture
def lone() -> Iterator[Server]:
    """A node that was taken out of its cluster, or is not in it yet."""
    server = Server("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    yield server
    server.close()


async def test_a_node_without_slots_says_nothing_about_the_others(
    cluster: Cluster, lone: Server, redis_server: RedisServer
) -> None:
    hosts = [lone.port, redis_server.port, *(node.port for node in cluster.nodes)]
    url = f"redis+cluster://{','.join(f'127.0.0.1:{port}' for port in hosts)}/"
    for _ in range(8):  # which is asked first is chance
        relay = ClusterRelay(url, RelayOptions())
        assert relay.read(Read("never-was")) is None
        relay.close()
        server_side = AsyncClusterRelay(url, RelayOptions())
        assert await server_side.read([Read("never-was")]) == [None]
        await server_side.close()


def test_a_cluster_without_slots_is_said_to_be_one(lone: Server) -> None:
    relay = ClusterRelay(f"redis+cluster://127.0.0.1:{lone.port}/", RelayOptions())
    with pytest.raises(ConfigurationError, match="serves no slots"):
        relay.call(Create("s", "me"))


def test_a_node_that_has_left_the_cluster_is_not_asked_any_more(
    cluster: Cluster, relay: ClusterRelay
) -> None:
    relay.call(Create("s", "me"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0)
        left = ("127.0.0.1", silent.getsockname()[1])
        relay._node(left, relay._known_slots().publish)
        for _ in range(8):
            relay._slots = None
            assert relay.state("s").owner == "me"
        with pytest.raises(BlockingIOError):
            silent.accept()


@pytest.mark.parametrize("scheme", ["redis+cluster", "redis+sentinel"])
async def test_nobody_there(scheme: str) -> None:
    url = f"{scheme}://user:hush@127.0.0.1:{free_port()},127.0.0.1:{free_port()}/"
    settings = StreamSettings(relay_url=url)
    relay, other = open_relay(settings), open_async_relay(settings)
    with pytest.raises(RelayUnavailableError) as error:
        relay.call(Create("s", "me"))
    with pytest.raises(RelayUnavailableError) as async_error:
        await other.execute([Create("s", "me")])
    for each in (error, async_error):
        assert "hush" not in str(each.value)
        assert "stream_relay_url" in str(each.value)
    relay.close()
    await other.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "redis+cluster://a:7000,b:7001/",
            HostsUrl(False, "", (("a", 7000), ("b", 7001)), "", "", {}),
        ),
        ("redis+cluster://a", HostsUrl(False, "", (("a", 6379),), "", "", {})),
        (
            "rediss+cluster://u:p%40@a,[::1]:7/?socket_timeout=2",
            HostsUrl(True, "u:p%40", (("a", 6379), ("::1", 7)), "", "socket_timeout=2", {}),
        ),
        (
            "redis+sentinel://:p@a,b:7/3?service=m&sentinel_password=x",
            HostsUrl(False, ":p", (("a", 26379), ("b", 7)), "3", "",
                     {"service": "m", "sentinel_password": "x"}),
        ),
    ],
)  # fmt: skip
def test_urls_with_several_hosts(url: str, expected: HostsUrl) -> None:
    assert parse_hosts_url(url) == expected


def test_the_url_of_a_node() -> None:
    parsed = parse_hosts_url("rediss+cluster://u:p%40@a/?socket_timeout=2")
    assert parsed.node_url("::1", 7) == "rediss://u:p%40@[::1]:7/?socket_timeout=2"
    assert parsed.connection_options() == {
        "username": "u", "password": "p@", "socket_timeout": 2.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis+cluster://", "names no host"),
        ("redis+cluster:///", "names no host"),
        ("redis+cluster://a:x/", "no host and port"),
        ("redis+cluster://a/3", "has no database 3"),
        ("redis+cluster://a/?socket_timeout=soon", "stream_relay_url"),
        ("redis+sentinel://a/?socket_timeout=soon", "stream_relay_url"),
    ],
)
async def test_wrong_urls(url: str, message: str) -> None:
    for opened in (open_relay, open_async_relay):
        with pytest.raises(ConfigurationError, match=message):
            opened(StreamSettings(relay_url=url))


def test_slots_as_a_node_tells_them() -> None:
    asked = ("asked", 1)
    raw = [[10, 20, [b"", 2], [b"replica", 9]], [0, 9, [b"first", 3]], [30, 16383, [None, 4]]]
    slots = parse_slots(raw, asked, [None])
    assert slots == SlotMap((0, 10, 30), (9, 20, 16383), (("first", 3), ("asked", 2), ("asked", 4)),
                            b"PUBLISH")  # fmt: skip
    assert parse_slots(raw, asked, [[b"spublish"]]).publish == SHARDED_PUBLISH
    with pytest.raises(ConfigurationError, match="serves no slots"):
        parse_slots([], asked, [None])


def test_a_slot_that_nobody_serves() -> None:
    slots = SlotMap((5000,), (16383,), (("a", 1),), b"PUBLISH")
    found = {slots.node_of(name) for name in NAMES}
    assert found == {None, ("a", 1)}
