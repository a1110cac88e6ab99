"""Our worker client and the published SDK, at our relay and at a bare Socket.IO server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamstraight_celery.producing.sender import Sender
from streamstraight_celery.relays import open_relay
from streamstraight_celery.relays.streamstraight import StreamstraightRelay
from streamstraight_celery.settings import StreamSettings
from tests.conftest import RedisServer, eventually
from tests.streamstraight.servers import KEY, Bare, Ours, Server


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("streamstraight")


@pytest.fixture(scope="session")
def bare(folder: Path) -> Iterator[Callable[..., Bare]]:
    """Bare servers, one for each set of options."""
    started: dict[tuple[str, ...], Bare] = {}

    def get(*options: str) -> Bare:
        if options not in started:
            started[options] = Bare(folder, *options)
            started[options].start()
        return started[options]

    yield get
    for server in started.values():
        server.close()


@pytest.fixture
def own_bare(folder: Path) -> Iterator[Callable[..., Bare]]:
    """Starts bare servers to freeze or kill."""
    started: list[Bare] = []

    def start(*options: str) -> Bare:
        server = Bare(folder, *options)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.close()


@pytest.fixture
def ours(shared_servers: dict[str, Server]) -> Ours:
    """A relay of ours that stays as it is."""
    server = shared_servers["ours"]
    assert isinstance(server, Ours)
    return server


@pytest.fixture
def own_relay(folder: Path, redis_url: str) -> Iterator[Ours]:
    """A relay of ours that a test may freeze or kill."""
    server = Ours(folder, redis_url)
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def shared_servers(
    folder: Path, redis_server: RedisServer, bare: Callable[..., Bare]
) -> Iterator[dict[str, Server]]:
    ours = Ours(folder, redis_server.new_database())
    ours.start()
    yield {"ours": ours, "bare": bare(), "bare, acks": bare("acks", "info")}
    ours.close()


@pytest.fixture(params=["ours", "bare", "bare, acks"])
def server(request: pytest.FixtureRequest, shared_servers: dict[str, Server]) -> Server:
    """A server that stays as it is."""
    return shared_servers[request.param]


class Client:
    """A worker's sender, with a relay of its own."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.settings = StreamSettings(
            **{"relay_url": "streamstraight://", "api_base_url": url, "api_key": KEY, **settings}
        )
        relay = open_relay(self.settings)
        assert isinstance(relay, StreamstraightRelay)
        self.relay = relay
        self.sender = Sender(relay, self.settings)
        self.open = self.sender.open

    def close(self) -> None:
        self.sender.close()
        self.relay.close()


@pytest.fixture
def client() -> Iterator[Callable[..., Client]]:
    """Makes clients; nothing of them is left in the end."""
    before = set(threading.enumerate())
    made: list[Client] = []

    def make(url: str, **settings: Any) -> Client:
        made.append(Client(url, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()

    def left() -> list[str]:
        new = set(threading.enumerate()) - before
        return [thread.name for thread in new if thread.name.startswith("stream-")]

    eventually(lambda: not left())
