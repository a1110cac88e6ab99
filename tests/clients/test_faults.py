"""Readers while connections, relay servers, Redis, attempts and tokens fail: each chunk once."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamstraight_celery import RelayUnavailableError, aread_stream, read_stream
from streamstraight_celery.errors import StreamGoneError, TokenError
from streamstraight_celery.relays import open_relay
from streamstraight_celery.relays.requests import Release
from streamstraight_celery.settings import read_settings
from tests.clients.conftest import make_app
from tests.clients.ways import Site, Way
from tests.conftest import RedisServer, free_port
from tests.server.producer import Producer
from tests.server.test_cli import Relay as RelayProcess
from tests.server.test_dropping import heal
from tests.support.proxy import Proxy

PATIENCE = 60


@pytest.mark.parametrize("seed", range(2))
def test_cut_connections_and_new_attempts(http_way: Way, seed: int) -> None:
    rng = random.Random(seed)
    producer = http_way.site.producer()
    # A frame has up to 32 KB, so that every other connection brings one at least.
    with Proxy(http_way.site.port, reply_bytes=lambda: rng.randint(1, 80_000)) as proxy:
        behind = Way(
            Site(proxy.port, http_way.site.relay, http_way.site.app),
            asynchronous=http_way.asynchronous,
            direct=False,
        )
        reading = behind.start(producer, resets=True)
        for number in range(150):
            chunk = {"n": number, "x": f"{rng.random()}" * 20}
            producer.append(*[chunk] * rng.randint(1, 4))
            if number == 60:
                name = producer.stream_id
                producer.relay.call(Release(name, producer.attempt, producer.nonce, 1000))
                producer.claim(resume=seed == 1)
        producer.end()
        done = reading.result(PATIENCE)
        behind.close()
        assert proxy.connections > 1

    assert done.error is None
    assert done.chunks == producer.values()


@pytest.fixture
def own_site(own_redis: RedisServer) -> Iterator[Site]:
    """A Redis of this test's own, and no relay server."""
    url = own_redis.url(1)
    app = make_app(url, stream_lease=5, stream_reap_after=5)
    relay = open_relay(read_settings(app))
    yield Site(free_port(), relay, app)
    relay.close()
    app.pool.force_close_all()


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_a_relay_server_that_is_killed_and_comes_back(
    site: Site, start_relay: Callable[..., RelayProcess], asynchronous: bool
) -> None:
    port = free_port()
    url = site.app.conf.stream_relay_url
    first = start_relay(url, "--port", str(port))
    way = Way(Site(port, site.relay, site.app), asynchronous=asynchronous, direct=False)
    producer = site.producer()
    producer.append(1, 2)
    seen, retried = threading.Semaphore(0), threading.Event()
    reading = way.start(
        producer, on_chunk=lambda _: seen.release(), on_retry=lambda _: retried.set()
    )
    for _ in range(2):
        assert seen.acquire(timeout=PATIENCE)
    first.end(signal.SIGKILL)
    producer.append(3)
    assert retried.wait(PATIENCE)
    start_relay(url, "--port", str(port))
    producer.append(4, end="completed")

    assert reading.result(PATIENCE).chunks == [1, 2, 3, 4]
    assert reading.result().error is None
    way.close()


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_redis_that_is_killed_and_comes_back_empty(
    own_site: Site, own_redis: RedisServer, asynchronous: bool
) -> None:
    """The producer, which lives, sends again what is missing."""
    way = Way(own_site, asynchronous=asynchronous, direct=True)
    producer = own_site.producer()
    producer.append(*range(10))
    seen, retried = threading.Semaphore(0), threading.Event()
    reading = way.start(
        producer, on_chunk=lambda _: seen.release(), on_retry=lambda _: retried.set()
    )
    for _ in range(10):
        assert seen.acquire(timeout=PATIENCE)
    own_redis.kill()
    assert retried.wait(PATIENCE)
    own_redis.start()
    own_site.relay.close()
    heal(producer, random.Random(1), 1)
    producer.append(10, end="completed")

    assert reading.result(PATIENCE).chunks == list(range(11))
    assert reading.result().error is None
    way.close()


def test_a_stream_that_nobody_sends_again_is_gone(own_site: Site, own_redis: RedisServer) -> None:
    own_site.app.conf.update(stream_lease=0.3, stream_reap_after=0.2)
    way = Way(own_site, asynchronous=False, direct=True)
    producer = own_site.producer()
    producer.append(1)
    seen = threading.Event()
    reading = way.start(producer, on_chunk=lambda _: seen.set())
    assert seen.wait(PATIENCE)
    own_redis.kill()
    own_redis.start()

    assert isinstance(reading.result(PATIENCE).error, StreamGoneError)
    assert reading.result().chunks == [1]
    way.close()


def test_giving_up(way: Way, own_site: Site, own_redis: RedisServer) -> None:
    """Without `give_up_after` it would go on for ever."""
    producer = own_site.producer()
    own_redis.kill()
    dead = Way(own_site, asynchronous=way.asynchronous, direct=way.direct)

    reading = dead.read(producer, give_up_after=0.2)

    assert isinstance(reading.error, RelayUnavailableError)
    dead.close()


def test_a_token_that_expires_in_mid_stream(http_way: Way) -> None:
    site = http_way.site
    producer = site.producer()
    producer.append(1)
    asked: list[str] = []
    seen = threading.Semaphore(0)

    def get_token() -> str:
        asked.append(str(site.ref(producer, ttl=3)["token"]))
        return asked[-1]

    async def get_token_async() -> str:
        await asyncio.sleep(0)
        return get_token()

    token = get_token_async if http_way.asynchronous else get_token
    read: Any = aread_stream if http_way.asynchronous else read_stream
    url = site.ref(producer)["url"]
    http_way.open = lambda _, **options: read(url, get_token=token, **options)  # type: ignore[method-assign]
    reading = http_way.start(producer, on_chunk=lambda _: seen.release())
    number = 1
    while len(asked) < 2:
        assert seen.acquire(timeout=PATIENCE)
        number += 1
        producer.append(number)
    producer.end()

    assert reading.result(PATIENCE).error is None
    assert reading.result().chunks == list(range(1, number + 1))


def test_a_token_that_expires_with_nobody_to_ask(http_way: Way) -> None:
    producer: Producer = http_way.site.producer()
    producer.append(1, end="completed")
    ref = {**http_way.site.ref(producer, ttl=-5)}
    read: Any = aread_stream if http_way.asynchronous else read_stream
    http_way.open = lambda _, **options: read(ref, **options)  # type: ignore[method-assign]

    error = http_way.read(producer).error

    assert isinstance(error, TokenError)
    assert error.code == "expired-token"
