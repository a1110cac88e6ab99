"""A relay server in a process of its own, and the four ways to read from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery.relays import open_relay
from streamstraight_celery.settings import read_settings
from tests.clients.ways import SECRET, Site, Way
from tests.conftest import RedisServer
from tests.server.test_cli import Relay as RelayProcess

WAYS = {
    "sync-http": {"asynchronous": False, "direct": False},
    "async-http": {"asynchronous": True, "direct": False},
    "sync-direct": {"asynchronous": False, "direct": True},
    "async-direct": {"asynchronous": True, "direct": True},
}


def make_app(url: str, **conf: Any) -> Celery:
    """A Celery app whose streams are there."""
    app = Celery("clients", broker=url, set_as_current=False)
    app.conf.update(stream_relay_url=url, stream_secret=SECRET, **conf)
    return app


@pytest.fixture(scope="module")
def start_relay() -> Iterator[Callable[..., RelayProcess]]:
    """Starts relay servers, and kills in the end those that are left."""
    started: list[RelayProcess] = []

    def start(url: str, *arguments: str, **conf: Any) -> RelayProcess:
        started.append(RelayProcess(url, *arguments, stream_secret=SECRET, **conf))
        return started[-1]

    yield start
    for relay in started:
        if relay.process.poll() is None:
            relay.process.kill()
        relay.process.communicate()


@pytest.fixture(scope="module")
def site(redis_server: RedisServer, start_relay: Callable[..., RelayProcess]) -> Iterator[Site]:
    """A running relay server. By its app's settings a silent producer is dead after a second."""
    url = redis_server.new_database()
    conf = {"stream_lease": 1, "stream_reap_after": 0.5}
    app = make_app(url, **conf)
    # Its producers are these tests, which renew no lease.
    relay = open_relay(replace(read_settings(app), lease=120))
    yield Site(start_relay(url, **conf).port, relay, app)
    relay.close()
    app.pool.force_close_all()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, site: Site) -> Iterator[Way]:
    """Each of the ways to read."""
    way = Way(site, **WAYS[request.param])
    yield way
    way.close()


@pytest.fixture(params=["sync-http", "async-http"])
def http_way(request: pytest.FixtureRequest, site: Site) -> Iterator[Way]:
    """Those over HTTP."""
    way = Way(site, **WAYS[request.param])
    yield way
    way.close()
