"""What only the relay on Redis can go through."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import redis

from streamstraight_celery.errors import ConfigurationError, RelayUnavailableError
from streamstraight_celery.relays import open_async_relay, open_relay
from streamstraight_celery.relays.base import RelayOptions
from streamstraight_celery.relays.redis.async_relay import AsyncRedisRelay
from streamstraight_celery.relays.redis.exchange import STRAIGHT
from streamstraight_celery.relays.redis.relay import RedisRelay
from streamstraight_celery.relays.redis.scripts import parse_notice
from streamstraight_celery.relays.requests import (
    Append,
    Checkpoint,
    Claim,
    Conclude,
    Create,
    Read,
    Renew,
)
from streamstraight_celery.settings import StreamSettings
from tests.conftest import RedisServer, free_port
from tests.support.keys import without_index

CLAIM = Claim("s", "aaaaaaaa", "task-1")


def append(first: int, *texts: str, end: str = "") -> Append:
    return Append("s", 1, "aaaaaaaa", first, len(texts), "\n".join(texts).encode(), end)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def relay(redis_url: str) -> Iterator[RedisRelay]:
    relay = RedisRelay(redis_url, RelayOptions(ttl=60_000))
    yield relay
    relay.close()


def test_the_log_is_as_documented(relay: RedisRelay, client: redis.Redis) -> None:
    relay.call(CLAIM)
    relay.call(append(1, '"a"', '"b"'))
    relay.call(append(3, '"c"', end="completed"))
    assert client.xrange("ss:{s}:s") == [
        (b"1-2", {b"d": b'"a"\n"b"'}),
        (b"1-3", {b"d": b'"c"'}),
    ]
    assert client.hmget("ss:{s}:m", "a", "n", "q", "e", "o", "b") == [
        b"1", b"aaaaaaaa", b"3", b"completed", b"task-1", b"10",
    ]  # fmt: skip


def test_every_change_is_published_with_its_bytes(
    relay: RedisRelay, client: redis.Redis, redis_url: str
) -> None:
    database = redis_url.rpartition("/")[2]
    channel = "ss:{s}:n" + ("" if database == "0" else database)
    with client.pubsub() as subscription:
        subscription.subscribe(channel)
        assert subscription.get_message(timeout=10)
        relay.call(CLAIM)
        relay.call(append(1, "1", "2"))
        relay.call(append(1, "1", "2"))
        relay.call(append(3, end="completed"))
        messages = [subscription.get_message(timeout=10) for _ in range(3)]
        assert [parse_notice(m["data"]) for m in messages if m] == [
            (1, "aaaaaaaa", 1, 0, "", b""),
            (1, "aaaaaaaa", 1, 2, "", b"1\n2"),
            (1, "aaaaaaaa", 3, 2, "completed", b""),
        ]
        assert subscription.get_message(timeout=0.05) is None


def test_no_key_without_a_time_to_live(relay: RedisRelay, client: redis.Redis) -> None:
    def all_expire(longest: int = 60_000) -> bool:
        assert all(client.pttl(key) > 0 for key in client.scan_iter())  # of the index too
        keys = without_index(client.scan_iter())
        return bool(keys) and all(0 < client.pttl(key) <= longest for key in keys)

    relay.call(Create("s", "task-1"))
    # Awaited for as long as a stream is kept, and then kept so that readers are told.
    assert all_expire(2 * 60_000)
    relay.call(CLAIM)
    assert all_expire()
    relay.call(append(1, "1"))
    assert all_expire()
    client.delete("ss:{s}:s")
    assert relay.call(append(2, "2")).kind == "gap"
    relay.call(append(1, "1", "2"))
    assert all_expire()
    relay.call(Renew("s", 1, "aaaaaaaa"))
    relay.call(Checkpoint("s", 1, "aaaaaaaa", "1", 2))
    assert all_expire()
    relay.call(Conclude("s", "task-1", "aaaaaaaa", wait=5_000))
    assert all_expire(65_000)
    relay.call(append(3, end="completed"))
    assert all_expire()


def test_an_evicted_log_is_asked_for_again(relay: RedisRelay, client: redis.Redis) -> None:
    relay.call(CLAIM)
    relay.call(append(1, "1", "2"))
    client.delete("ss:{s}:s")
    assert relay.call(append(3, "3")) == ("gap", 1, False, "")
    assert relay.call(append(1, "1", "2", "3")) == ("ok", 3, False, "")


def test_an_end_asks_for_an_evicted_log_too(relay: RedisRelay, client: redis.Redis) -> None:
    relay.call(CLAIM)
    relay.call(append(1, "1", "2"))
    client.delete("ss:{s}:s")
    assert relay.call(append(3, end="completed")) == ("gap", 1, False, "")
    assert relay.state("s").end == ""
    assert relay.call(append(1, "1", "2", end="completed")) == ("ok", 2, False, "completed")


def test_forgotten_scripts_are_loaded_again(relay: RedisRelay, client: redis.Redis) -> None:
    relay.call(CLAIM)
    client.script_flush()
    answers = relay.execute([append(1, "1"), append(2, "2")])
    assert [answer.kind for answer in answers] == ["ok", "ok"]
    client.script_flush()
    page = relay.read(Read("s", 1, 0, 10))
    assert page is not None
    assert len(page.entries) == 2


async def test_scripts_that_may_not_be_loaded_are_a_relay_that_cannot_be_used(
    own_redis: RedisServer,
) -> None:
    with redis.Redis.from_url(own_redis.url()) as client:
        client.acl_setuser(
            "limited", enabled=True, passwords=["+password"], keys=["*"], channels=["*"],
            commands=["+@all", "-script"],
        )  # fmt: skip
    url = f"redis://limited:password@127.0.0.1:{own_redis.port}/"
    relay, server_side = RedisRelay(url, RelayOptions()), AsyncRedisRelay(url, RelayOptions())
    with pytest.raises(RelayUnavailableError, match="permission"):
        relay.call(CLAIM)
    with pytest.raises(RelayUnavailableError, match="permission"):
        await server_side.execute([CLAIM])
    relay.close()
    await server_side.close()


@pytest.mark.parametrize("scheme", ["rediss", "rediss+cluster", "rediss+sentinel"])
@pytest.mark.parametrize("value", ["CERT_REQUIRED", "CERT_OPTIONAL", "CERT_NONE", "none"])
async def test_a_url_may_be_written_as_for_celery(scheme: str, value: str) -> None:
    url = f"{scheme}://127.0.0.1:{free_port()}/0?socket_timeout=1&ssl_cert_reqs={value}"
    settings = StreamSettings(relay_url=url)
    with pytest.raises(RelayUnavailableError, match=r"refused|No master"):
        open_relay(settings).call(CLAIM)
    relay = open_async_relay(settings)
    with pytest.raises(RelayUnavailableError, match=r"refused|Connect call failed|No master"):
        await relay.execute([CLAIM])
    await relay.close()


def test_a_refused_request_is_an_error_answer(relay: RedisRelay, client: redis.Redis) -> None:
    client.set("ss:{s}:m", "not a hash")
    answer = relay.execute([CLAIM])[0]
    assert answer.kind == "error"
    assert "WRONGTYPE" in answer.reason
    with pytest.raises(RelayUnavailableError, match="WRONGTYPE"):
        relay.call(CLAIM)
    with pytest.raises(RelayUnavailableError, match="WRONGTYPE"):
        relay.read(Read("s"))


def test_a_database_that_is_not_there(redis_server: RedisServer) -> None:
    relay = RedisRelay(redis_server.url(9999), RelayOptions())
    with pytest.raises(RelayUnavailableError, match="DB index is out of range"):
        relay.state("s")
    relay.close()


def test_databases_do_not_hear_each_other(redis_server: RedisServer) -> None:
    one, other = redis_server.new_database(), redis_server.new_database()
    with redis.Redis.from_url(other) as client, client.pubsub() as subscription:
        subscription.psubscribe("ss:{s}:n*")
        assert subscription.get_message(timeout=10)
        for url in (one, other):
            relay = RedisRelay(url, RelayOptions())
            relay.call(CLAIM)
            relay.close()
        channels = {subscription.get_message(timeout=10)["channel"] for _ in range(2)}  # type: ignore[index]
        assert len(channels) == 2


def test_an_interrupted_request_leaves_no_answer_behind(own_redis: RedisServer) -> None:
    relay = RedisRelay(own_redis.url(), RelayOptions())
    for name in ("one", "other"):
        relay.call(Create(name, f"owner of {name}"))

    class Interrupted(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    with redis.Redis.from_url(own_redis.url()) as client:
        client.client_pause(300)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Interrupted):
            relay.state("one")
    signal.signal(signal.SIGALRM, before)
    assert relay.state("other").owner == "owner of other"
    relay.close()


@pytest.mark.parametrize("reading", ["_answers", "_reply"])
def test_a_request_interrupted_before_its_answer_leaves_none_behind(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, reading: str
) -> None:
    """By a signal that comes while nothing of redis-py runs, so that it cannot clean up."""
    if reading == "_reply":
        monkeypatch.setattr("streamstraight_celery.relays.redis.exchange.STRAIGHT", False)
    elif not STRAIGHT:
        pytest.skip("hiredis before 3.2 is not used by itself")
    relay = RedisRelay(own_redis.url(), RelayOptions())
    for name in ("one", "other"):
        relay.call(Create(name, f"owner of {name}"))

    class Interrupted(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    with redis.Redis.from_url(own_redis.url()) as client, monkeypatch.context() as patched:
        patched.setattr(f"streamstraight_celery.relays.redis.exchange.{reading}", interrupt)
        client.client_pause(300)
        with pytest.raises(Interrupted):
            relay.state("one")
    assert relay.state("other").owner == "owner of other"
    relay.close()


class TestUnreachable:
    def test_the_error_says_where_and_what_to_do(self) -> None:
        relay = RedisRelay(f"redis://user:hush@127.0.0.1:{free_port()}/0", RelayOptions())
        with pytest.raises(RelayUnavailableError) as error:
            relay.call(CLAIM)
        assert "redis://user:***@127.0.0.1" in str(error.value)
        assert "stream_relay_url" in str(error.value)
        assert "hush" not in str(error.value)

    def test_a_connection_that_was_closed_meanwhile_is_replaced(
        self, own_redis: RedisServer
    ) -> None:
        relay = RedisRelay(own_redis.url(), RelayOptions())
        relay.call(CLAIM)
        own_redis.kill()
        own_redis.start()
        assert relay.call(CLAIM).kind == "ok"
        relay.close()

    def test_it_reconnects(self, own_redis: RedisServer) -> None:
        relay = RedisRelay(own_redis.url(), RelayOptions())
        relay.call(CLAIM)
        own_redis.kill()
        with pytest.raises(RelayUnavailableError):
            relay.call(CLAIM)
        own_redis.start()
        assert relay.call(CLAIM).kind == "ok"
        relay.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "stream_relay_url is not set"),
        ("kafka://x", "unknown scheme 'kafka'; use one of redis://"),
        ("localhost:6379", "unknown scheme 'localhost'"),
        ("http://127.0.0.1:8787", "find the relay server, that is stream_public_url"),
        ("https://relay.example", "find the relay server, that is stream_public_url"),
        ("[redis]://x", "unknown scheme"),
        ("redis://localhost:notaport/0", "stream_relay_url"),
    ],
)
def test_a_wrong_url_is_a_clear_error(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        open_relay(StreamSettings(relay_url=url))
