"""A provider, a worker with processes of its own, and a relay, as they are run in production."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import RedisServer, eventually, free_port
from tests.support.processes import answers, start_celery, stop
from tests.support.providers import ReplayProvider

APP = "tests.recordings.app"


@pytest.fixture(scope="session")
def provider() -> Iterator[ReplayProvider]:
    with ReplayProvider() as provider:
        yield provider


@pytest.fixture(scope="session")
def project(
    redis_server: RedisServer, provider: ReplayProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """The project's module, its worker (prefork) and its relay running."""
    logs = tmp_path_factory.mktemp("logs")
    port = free_port()
    os.environ.update(
        TEST_REDIS_URL=redis_server.new_database(),
        TEST_RELAY_URL=f"http://127.0.0.1:{port}",
        TEST_PROVIDER_URL=provider.base_url,
    )
    module = importlib.import_module(APP)
    worker = start_celery(
        APP, logs / "worker.log", "worker", "-P", "prefork", "-c", "2", "-n", "integration@tests",
        "-l", "INFO", "--without-mingle", "--without-gossip", "--without-heartbeat",
    )  # fmt: skip
    relay = start_celery(APP, logs / "relay.log", "streams", "relay", "--port", str(port))
    try:
        eventually(lambda: b" ready." in (logs / "worker.log").read_bytes(), timeout=60)
        eventually(lambda: answers(f"http://127.0.0.1:{port}/readyz"), timeout=60)
        yield module
    finally:
        stop(relay)
        stop(worker)
        from streamstraight_celery.runtime import Runtime

        Runtime.of(module.app).close()
        module.app.backend.client.close()
        module.app.pool.force_close_all()
