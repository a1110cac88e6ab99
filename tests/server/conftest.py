"""Relay servers over both relays, and producers that write into them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from streamstraight_celery.relays import open_relay
from streamstraight_celery.relays.base import Relay, RelayOptions
from streamstraight_celery.relays.memory.relay import MemoryRelay
from streamstraight_celery.relays.memory.store import MemoryStore
from streamstraight_celery.server import RelayApp, create_app
from streamstraight_celery.server.live.hub import HubOptions
from streamstraight_celery.server.socketio import uvicorn_options
from streamstraight_celery.settings import StreamSettings
from streamstraight_celery.tokens import Tokens

from .client import Client
from .producer import Producer
from .serving import serving

_stores = count()

SECRET = "a secret of the relay server's tests"


class Clock:
    """A clock that stands still until it is moved; seconds."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += seconds


@dataclass
class Site:
    """A running relay server, and the relay behind it."""

    app: RelayApp
    port: int
    relay: Relay
    tokens: Tokens
    clients: list[Client] = field(default_factory=list)

    def producer(self, stream_id: str = "") -> Producer:
        """A new stream, claimed."""
        return Producer(self.relay, stream_id).create().claim()

    def client(self, producer: Producer | str, **options: Any) -> Client:
        """A client with a token for that stream."""
        name = producer if isinstance(producer, str) else producer.stream_id
        client = Client(self.port, self.tokens.issue(name, **options)[0])
        self.clients.append(client)
        return client


MakeSite = Callable[..., Awaitable[Site]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "redis"])
def any_relay_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty relay of each kind."""
    if request.param == "redis":
        return str(request.getfixturevalue("redis_url"))
    return f"memory://{next(_stores)}"


@pytest.fixture
async def make_site() -> AsyncIterator[MakeSite]:
    """A function that starts a relay server: `await make_site(url, **settings)`."""
    ends: list[Any] = []
    relays: list[Relay] = []
    sites: list[Site] = []

    async def make(
        url: str,
        *,
        app_options: dict[str, Any] | None = None,
        wired: bool = True,
        **changes: Any,
    ) -> Site:
        settings = StreamSettings(relay_url=url, **{"secret": (SECRET,), **changes})
        options: dict[str, Any] = {
            "hub_options": HubOptions(
                lease=settings.lease,
                reap_after=settings.reap_after,
                interval=0.02,
                check_every=0.1,
                settle=0.2,
            ),
            **(app_options or {}),
        }
        relay = open_relay(settings)  # before the server: it keeps a store in memory alive
        relays.append(relay)
        app = create_app(settings, **options)
        end = serving(app, wired=wired, **uvicorn_options(settings))
        port = await end.__aenter__()
        ends.append(end)
        site = Site(app, port, relay, Tokens([SECRET]))
        sites.append(site)
        return site

    yield make
    for site in sites:
        for client in site.clients:
            await client.close()
    for end in reversed(ends):
        await end.__aexit__(None, None, None)
    for relay in relays:
        relay.close()


@pytest.fixture
async def site(make_site: MakeSite, any_relay_url: str) -> Site:
    """A relay server over each kind of relay."""
    return await make_site(any_relay_url)


@pytest.fixture
async def redis_site(make_site: MakeSite, redis_url: str) -> Site:
    """A relay server over Redis."""
    return await make_site(redis_url)


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    """A store in memory, on the test's clock."""
    return MemoryStore(RelayOptions(), clock)


@pytest.fixture
def memory_relay(store: MemoryStore) -> MemoryRelay:
    return MemoryRelay(store)
