"""Workers on each broker: Redis, and RabbitMQ with classic and with quorum queues."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery import StreamHandle
from tests.conftest import free_port, missing
from tests.support.processes import answers
from tests.tasks.apps.project import CONF_VARIABLE
from tests.tasks.conftest import close_app
from tests.tasks.ends.rabbitmq import RabbitMQ, program
from tests.tasks.processes import ROOT, Worker, wait_until

# Longer than any test here waits: what ends sooner was not ended by the lease.
LONG = 120.0
# For what only the lease can end; long enough for a busy machine to deliver a task again.
SHORT = {"stream_lease": 1.5, "stream_reap_after": 8}
BROKERS = ["redis", "classic", "quorum"]
# What depends on the broker: slow on RabbitMQ. The rest runs there only with all faults.
ON_EVERY_BROKER = {
    "test_a_background_response_whose_worker_is_killed_is_one_unbroken_stream",
    "test_a_cold_shutdown_hands_a_stream_on_that_comes_back",
    "test_a_killed_process_ends_the_stream_of_an_async_generator",
    "test_a_second_delivery_neither_runs_nor_is_lost",
    "test_a_task_that_expires_before_it_is_due_ends_its_stream",
    "test_a_task_that_is_given_back_begins_anew_at_once",
    "test_a_task_that_is_retried_when_its_process_is_lost_begins_anew",
    "test_a_task_that_is_revoked_before_it_is_due_ends_its_stream",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On RabbitMQ nothing of this runs by default."""
    for item in items:
        params = (
            item.callspec.params
            if isinstance(item, pytest.Function) and hasattr(item, "callspec")
            else {}
        )
        broker = params.get("site")
        if broker in BROKERS[1:]:
            item.add_marker("slow" if item.originalname in ON_EVERY_BROKER else "faults")


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    if program() is None:
        missing("rabbitmq-server")
    node = RabbitMQ(tmp_path_factory.mktemp("rabbitmq"))
    try:
        yield node.start()
    finally:
        node.stop()


@dataclass
class Site:
    """A broker with the project's app on it, and its workers."""

    app: Celery
    start: Callable[..., Worker]
    conf: dict[str, Any]

    def worker(self, name: str, changes: dict[str, Any] | None = None, **options: Any) -> Worker:
        """Start a worker; it consumes a queue of its own name, or the one of that name."""
        name = f"{self.conf['task_default_queue']}-{name}"
        queue = options.get("queue", name)
        return self.start(
            name, {**self.conf, "task_default_queue": queue, **(changes or {})}, **options
        )

    def stream(self, task: Any, *args: Any, queue: str, **options: Any) -> StreamHandle:
        """Enqueue a task of the project on this broker."""
        found: StreamHandle = self.app.tasks[task.name].apply_stream(args, queue=queue, **options)
        return found


@pytest.fixture(scope="session", params=BROKERS)
def site(
    request: pytest.FixtureRequest,
    conf: dict[str, Any],
    project_app: Celery,
    start_worker: Callable[..., Worker],
) -> Iterator[Site]:
    """The same tasks on each broker."""
    changes: dict[str, Any] = {
        "task_default_queue": request.param,
        "stream_lease": LONG,
        "stream_reap_after": LONG,
    }
    if request.param != "redis":
        changes["broker_url"] = request.getfixturevalue("rabbitmq").url
    if request.param == "quorum":
        changes.update(
            task_default_queue_type="quorum",
            task_create_missing_queue_type="quorum",
            task_default_exchange_type="topic",
            task_create_missing_queue_exchange_type="topic",
            broker_transport_options={"confirm_publish": True},
        )
    other = Celery(f"ends-{request.param}", set_as_current=False)
    other.conf.update({**conf, **changes})
    yield Site(other, start_worker, changes)
    # Not its broker's connections: apps with the same broker share them.
    close_app(other)


@pytest.fixture(scope="session")
def worker(site: Site) -> Iterator[Worker]:
    """Two pool processes that are replaced when they are killed."""
    worker = site.worker("ends")
    yield worker
    # It may be asked for again on this broker, which knows workers by their names.
    worker.kill()


@contextlib.contextmanager
def relay_server(conf: dict[str, Any], directory: Path) -> Iterator[str]:
    """A relay server's URL, in a process of its own."""
    port = free_port()
    with (directory / "relay.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tests.tasks.apps.project", "streams", "relay",
             "--port", str(port)],
            cwd=ROOT, env={**os.environ, CONF_VARIABLE: json.dumps(conf)},
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), "the relay answers")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def relay(
    site: Site, conf: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A relay server with a short lease, which knows the site's broker."""
    settings = {**conf, **site.conf, **SHORT}
    with relay_server(settings, tmp_path_factory.mktemp("relay")) as url:
        yield url
