"""What a stream of the service leaves behind, and what it cannot do."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from streamstraight_celery.errors import (
    ConfigurationError,
    RelayRefusedError,
    RelayUnavailableError,
)
from streamstraight_celery.relays import open_async_relay, open_relay
from streamstraight_celery.relays.requests import Create
from streamstraight_celery.settings import StreamSettings
from tests.conftest import ROOT, eventually
from tests.streamstraight.servers import KEY, Bare, Ours
from tests.support.proxy import Proxy

MakeClient = Callable[..., Any]
MakeBare = Callable[..., Bare]


@pytest.fixture
def name() -> str:
    return f"stream-{uuid.uuid4().hex}"


@pytest.fixture
def proxy() -> Iterator[Callable[[int], Proxy]]:
    made: list[Proxy] = []

    def make(port: int) -> Proxy:
        made.append(Proxy(port))
        return made[-1]

    yield make
    for each in made:
        each.close()


# -- what is left behind, and forks


def sockets_to(port: int) -> list[Any]:
    connections = psutil.Process().net_connections("tcp")
    return [each for each in connections if each.raddr and each.raddr[1] == port]


def test_nothing_is_left_after_a_stream(ours: Ours, client: MakeClient, name: str) -> None:
    here = client(ours.url)
    for number, conclude in enumerate(
        [lambda w: w.finish("completed"), lambda w: w.release(1), lambda w: w.finish("stopped")]
    ):
        writer = here.open(f"{name}-{number}")
        writer.write("1")
        assert sockets_to(ours.port)
        conclude(writer)
        assert not here.relay._open
        eventually(lambda: not sockets_to(ours.port))
    assert not [each for each in threading.enumerate() if each.name == "stream-socket"]


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "stream-socket"]


def test_nothing_is_left_of_a_stream_that_could_not_be_written(
    own_bare: MakeBare, client: MakeClient, name: str
) -> None:
    server = own_bare("acks", "info")
    here = client(server.url, relay_timeout=0.5)
    writer = here.open(name)
    server.kill()
    with pytest.raises(RelayUnavailableError):
        deque(map(writer.write, map(str, range(1_000_000))), maxlen=0)
    eventually(lambda: not threads())
    # It would hold the stream, as a living producer, once the server is back.
    assert not here.relay._open


def test_connections_kept_open_are_forgotten_when_the_server_closes_them(
    own_bare: MakeBare, client: MakeClient, name: str
) -> None:
    server = own_bare()
    here = client("", relay_url=f"streamstraight+http://127.0.0.1:{server.port}?keep_open=1")
    for number in range(3):
        here.open(f"{name}-{number}").finish("completed")
    assert len(here.relay._open) == 3
    server.kill()
    eventually(lambda: not threads())
    server.start()
    here.open(name)
    assert list(here.relay._open) == [name]


def test_keep_open_leaves_the_connection(bare: MakeBare, client: MakeClient, name: str) -> None:
    server = bare()
    here = client("", relay_url=f"streamstraight+http://127.0.0.1:{server.port}?keep_open=1")
    writer = here.open(name)
    writer.write("1")
    writer.finish("completed")
    assert sockets_to(server.port)
    here.close()
    eventually(lambda: not sockets_to(server.port))
    assert server.log(name) == (["1"], "completed")


FORK = """
import os, sys
from streamstraight_celery.relays import open_relay
from streamstraight_celery.producing.sender import Sender
from streamstraight_celery.settings import StreamSettings
url, key = sys.argv[1:]
settings = StreamSettings(relay_url="streamstraight://", api_base_url=url, api_key=key)
relay = open_relay(settings)
sender = Sender(relay, settings)
writer = sender.open("parent")
writer.write("1")
child = os.fork()
if not child:
    mine = Sender(relay, settings)
    other = mine.open("child")
    assert list(relay._open) == ["child"]
    other.write("2")
    other.finish("completed")
    relay.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
writer.write("3")
writer.finish("completed")
sender.close()
relay.close()
"""


def test_a_fork_in_mid_stream(bare: MakeBare) -> None:
    server = bare()
    command = [sys.executable, "-c", FORK, server.url, KEY]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert server.log("parent") == (["1", "3"], "completed")
    assert server.log("child") == (["2"], "completed")
    stream = server.stream("parent")
    assert stream is not None
    assert len(stream["connections"]) == 1


# -- what cannot be had from the service


def test_what_the_service_cannot_do_is_said(client: MakeClient) -> None:
    relay = client("http://127.0.0.1:9").relay
    with pytest.raises(RelayRefusedError, match="read it with Streamstraight's client"):
        relay.state("s")
    assert relay.call(Create("s", "task")).kind == "ok"
    with pytest.raises(ConfigurationError, match="the hosted service serves its streams itself"):
        open_async_relay(StreamSettings(relay_url="streamstraight://"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"relay_url": "streamstraight://"}, "stream_api_key is not set"),
        ({"relay_url": "streamstraight://?key=1", "api_key": "k"}, "has no other options"),
        ({"relay_url": "streamstraight://[", "api_key": "k"}, "stream_relay_url"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        open_relay(StreamSettings(**settings))


# -- client tokens


def test_tokens_of_the_service(bare: MakeBare, client: MakeClient) -> None:
    server = bare()
    relay = client(server.url).relay
    assert relay.access("s", ["read"], None) == (server.url, "a client's token", 0)
    with pytest.raises(ConfigurationError, match="Streamstraight decides"):
        relay.access("s", ["read"], 60)


def test_tokens_of_our_relay(own_relay: Ours, client: MakeClient, name: str) -> None:
    access = client(own_relay.url).relay.access(name, ["read", "stop"], None)
    assert access.url == f"https://relay.example/v1/stream/{name}"
    assert access.expires_at > time.time() + 3000
    with pytest.raises(RelayRefusedError, match="HTTP 401"):
        client(own_relay.url, api_key="wrong").relay.access(name, ["read"], None)
    own_relay.kill()
    with pytest.raises(RelayUnavailableError, match="did not give a token"):
        client(own_relay.url).relay.access(name, ["read"], None)


def test_the_key_is_not_shown() -> None:
    settings = StreamSettings(
        relay_url="streamstraight://", api_key="precious", api_keys=("a" * 16,)
    )
    assert "precious" not in repr(settings)
    assert "aaaa" not in repr(settings)
