"""`celery -A proj streams relay`, as a real process."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery.errors import ConfigurationError, MissingDependencyError
from streamstraight_celery.relays.base import RelayOptions
from streamstraight_celery.relays.redis.relay import RedisRelay
from streamstraight_celery.server import create_app
from streamstraight_celery.server.run import is_loopback, listen, run_relay, server_config
from streamstraight_celery.settings import StreamSettings
from streamstraight_celery.tokens import Tokens

from .client import Client
from .conftest import SECRET
from .producer import Producer

ROOT = Path(__file__).parent.parent.parent
RUN = [sys.executable, "-m", "celery", "-A", "tests.server.cli_app", "streams", "relay"]


def environment(broker: str, **conf: Any) -> dict[str, str]:
    return {**os.environ, "BROKER": broker, "CONF": json.dumps(conf), "PYTHONUNBUFFERED": "1"}


def run(*arguments: str, broker: str = "redis://127.0.0.1:1/0", **conf: Any) -> tuple[int, str]:
    """Run a relay that is expected to refuse; its status and what it said."""
    done = subprocess.run(
        [*RUN, *arguments],
        cwd=ROOT, env=environment(broker, **conf), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


class Relay:
    """A relay in a process of its own."""

    def __init__(self, broker: str, *arguments: str, **conf: Any) -> None:
        self.process = subprocess.Popen(
            [*RUN, "--port", "0", *arguments],
            cwd=ROOT, env=environment(broker, **conf), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.said = ""
        while "Relay server on" not in self.said:
            line = self.process.stdout.readline()
            assert line, self.said
            self.said += line
        if "stream_secret is not set" in self.said:
            self.said += self.process.stdout.readline()  # the link to the streams page
        self.port = int(re.findall(r"Relay server on http://127\.0\.0\.1:(\d+)", self.said)[0])

    def end(self, signum: int) -> float:
        """Send a signal; how long it took to end, in seconds."""
        started = time.monotonic()
        self.process.send_signal(signum)
        rest, _ = self.process.communicate(timeout=20)
        self.said += rest
        return time.monotonic() - started


@pytest.fixture
def start() -> Iterator[Callable[..., Relay]]:
    relays: list[Relay] = []

    def starting(*arguments: Any, **conf: Any) -> Relay:
        relays.append(Relay(*arguments, **conf))
        return relays[-1]

    yield starting
    for relay in relays:
        if relay.process.poll() is None:
            relay.process.kill()
        relay.process.communicate()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_and_ends_with_readers_attached(
    redis_url: str, signum: int, start: Callable[..., Relay]
) -> None:
    relay = start(redis_url, stream_secret=SECRET)
    assert "Warning" not in relay.said
    writing = RedisRelay(redis_url, RelayOptions())
    producer = Producer(writing).create().claim()
    producer.append(1, 2)
    client = Client(relay.port, Tokens([SECRET]).issue(producer.stream_id)[0])
    streams = [await client.sse(producer.stream_id) for _ in range(50)]
    for stream in streams:
        assert await stream.until_chunks(2) == [1, 2]
    ending = asyncio.get_running_loop().run_in_executor(None, relay.end, signum)
    for stream in streams:
        await stream.until_end()
        assert stream.complete
        await stream.close()
    assert await ending < 4
    assert relay.process.returncode == 0
    assert "Traceback" not in relay.said
    writing.close()


async def test_a_broker_that_is_away_does_not_hold_up_its_end(
    redis_url: str, start: Callable[..., Relay]
) -> None:
    relay = start("redis://127.0.0.1:1/0", stream_secret=SECRET, stream_relay_url=redis_url)
    writing = RedisRelay(redis_url, RelayOptions())
    for _ in range(20):
        producer = Producer(writing).create().claim()
        client = Client(relay.port, Tokens([SECRET]).issue(producer.stream_id)[0])
        answer = await client.request(
            "POST", f"/v1/stop/{producer.stream_id}", {"Content-Length": "0"}
        )
        assert answer.status == 202
    assert await asyncio.get_running_loop().run_in_executor(None, relay.end, signal.SIGTERM) < 4
    assert relay.process.returncode == 0
    writing.close()


async def test_the_access_log_shows_no_token(redis_url: str, start: Callable[..., Relay]) -> None:
    relay = start(redis_url, "--access-log", stream_secret=SECRET)
    answer = await Client(relay.port).get("/v1/stream/x?token=very.secret.token&offset=-1")
    assert answer.status == 401
    relay.end(signal.SIGTERM)
    assert "GET /v1/stream/x?token=***&offset=-1" in relay.said
    assert "very.secret.token" not in relay.said


async def test_without_a_secret_it_says_so(start: Callable[..., Relay]) -> None:
    relay = start("redis://user:hunter2@127.0.0.1:1/0")
    assert "Warning: stream_secret is not set" in relay.said
    assert "hunter2" not in relay.said
    assert "streams in redis://127.0.0.1:1/0" in relay.said
    link = re.search(
        r"Streams page.*: http://127.0.0.1:(\d+)/streams#key=(\S{32})$", relay.said, re.M
    )
    assert link is not None
    assert int(link[1]) == relay.port
    opened = {"Authorization": f"Bearer {link[2]}"}
    assert (await Client(relay.port).get("/v1/overview", opened)).status == 503
    assert (await Client(relay.port).get("/v1/overview")).status == 401
    assert (await Client(relay.port).get("/readyz")).status == 503
    assert relay.end(signal.SIGTERM) < 4
    assert "hunter2" not in relay.said
    assert "Traceback" not in relay.said


@pytest.mark.parametrize(
    ("arguments", "conf", "expected"),
    [
        (["--host", "0.0.0.0"], {}, "stream_secret is not set"),
        (["--host", "0.0.0.0"], {"stream_development": True}, "stream_secret is not set"),
        ([], {"stream_public_url": "https://relay.example"}, "stream_secret is not set"),
        ([], {"stream_secret": "short"}, "stream_secret is too short"),
        ([], {"stream_sercet": "x"}, "did you mean stream_secret?"),
        ([], {"stream_relay_url": "carrier-pigeon://x"}, "unknown scheme 'carrier-pigeon'"),
        ([], {"stream_ttl": -1}, "stream_ttl must be greater than 0"),
        (["--port", "99999"], {}, "--port"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: list[str], conf: dict[str, Any], expected: str
) -> None:
    status, said = run(*arguments, **conf)
    assert status != 0
    assert expected in said
    assert "Traceback" not in said


def test_a_broker_that_is_not_redis_needs_a_relay_url() -> None:
    status, said = run(broker="amqp://localhost")
    assert status != 0
    assert "stream_relay_url is not set" in said


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said = run("--port", str(port))
        assert status != 0
        assert f"cannot listen on 127.0.0.1 port {port}" in said
        assert "Traceback" not in said
        with pytest.raises(ConfigurationError, match="--port"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("module", ["uvicorn", "httptools", "hiredis"])
def test_what_is_missing_is_named(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=r"streamstraight-celery\[relay\]"):
        run_relay(Celery(), "127.0.0.1", 0, log_level="info", access_log=False)


def test_connections_are_kept_for_longer_than_by_proxies() -> None:
    relay = create_app(StreamSettings(relay_url="memory://"))
    # Not uvicorn's own, which sets up logging.
    uvicorn = SimpleNamespace(Config=lambda _, **options: options)
    assert server_config(uvicorn, relay, access_log=False)["timeout_keep_alive"] > 60


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("relay.example", False),
        ("localhost.example", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_the_group_lists_its_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "tests.server.cli_app", "streams", "--help"],
        cwd=ROOT, env=environment("memory://"), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert "relay" in done.stdout
