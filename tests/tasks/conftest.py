"""A Redis of our own, and workers on it that serve the whole folder."""

from __future__ import annotations

import contextlib
import gc
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import kombu.pools
import pytest
from celery import Celery
from celery.backends.redis import RedisBackend

from streamstraight_celery.errors import ConfigurationError
from streamstraight_celery.runtime import Runtime
from tests.conftest import RedisServer
from tests.tasks.apps.project import app as project
from tests.tasks.processes import Worker
from tests.tasks.speaker import Speaker

# How long a silent producer counts as alive here.
LEASE = 2.0


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    """The broker's, result backend's and relay's Redis: of this folder alone, for its workers."""
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def conf(server: RedisServer) -> dict[str, Any]:
    """The project's configuration, the same for these tests and their workers."""
    return {
        "broker_url": server.url(1),
        "result_backend": server.url(2),
        "broker_connection_retry_on_startup": True,
        "task_default_queue": "prefork",
        "task_send_sent_event": True,
        "worker_prefetch_multiplier": 1,
        "stream_relay_url": server.url(3),
        "stream_lease": LEASE,
        "stream_reap_after": 1,
        "stream_max_chunk_bytes": 64 * 1024,
        "stream_secret": "a-secret-of-these-tests",
        "stream_public_url": "https://relay.example",
    }


@pytest.fixture(scope="session")
def project_app(conf: dict[str, Any]) -> Iterator[Celery]:
    project.conf.update(conf)
    yield project
    # A result that is forgotten later would look for its server.
    gc.collect()
    close_app(project)
    # One pool a broker, for all apps of the process.
    kombu.pools.reset()


def close_app(app: Celery) -> None:
    """Close the connections of its own that an app has opened in this process."""
    with contextlib.suppress(ConfigurationError):
        Runtime.of(app).close()
    if isinstance(app.backend, RedisBackend):
        app.backend.result_consumer.stop()
        app.backend.client.connection_pool.disconnect()


@pytest.fixture
def app(project_app: Celery) -> Celery:
    """The project's app, as the current one."""
    project_app.set_current()
    return project_app


@pytest.fixture
def another_app(app: Celery, conf: dict[str, Any]) -> Iterator[Callable[..., Celery]]:
    """Makes apps with the same tasks and broker as the project's, configured otherwise."""
    made: list[Celery] = []

    def make(**changes: Any) -> Celery:
        other = Celery(f"other-{len(made)}", set_as_current=False)
        # Without a result backend, which subscribes to each task's result: these apps come and go.
        other.conf.update({**conf, "result_backend": None, **changes})
        made.append(other)
        return other

    yield make
    for other in made:
        close_app(other)


@pytest.fixture(scope="session")
def workers() -> Iterator[list[Worker]]:
    """All that were started and are not stopped yet."""
    started: list[Worker] = []
    yield started
    for worker in started:
        worker.ask_to_stop()
    for worker in started:
        worker.stop()


@pytest.fixture(autouse=True)
def end_workers_of_one_test(workers: list[Worker]) -> Iterator[None]:
    """Kill what the test itself has started: fixtures of wider scope were there before.

    A worker that outlives its test is more than idle. One whose broker is told to give messages out
    again after a second does so with those of all other workers.
    """
    before = len(workers)
    yield
    while len(workers) > before:
        workers.pop().kill()


@pytest.fixture(scope="session")
def start_worker(
    conf: dict[str, Any], workers: list[Worker], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Worker]:
    """Starts workers."""
    directory = tmp_path_factory.mktemp("workers")

    def start(name: str, changes: dict[str, Any] | None = None, **options: Any) -> Worker:
        worker = Worker(name, {**conf, **(changes or {})}, directory, **options)
        workers.append(worker)
        return worker.start()

    return start


@pytest.fixture(scope="session")
def prefork(start_worker: Callable[..., Worker]) -> Worker:
    """Two pool processes, with events: consumes the default queue."""
    return start_worker("prefork", options=("-E",))


@pytest.fixture(scope="session")
def threads(start_worker: Callable[..., Worker]) -> Worker:
    return start_worker("threads", pool="threads")


@pytest.fixture(scope="session")
def solo(start_worker: Callable[..., Worker]) -> Worker:
    return start_worker("solo", pool="solo", concurrency=1)


@pytest.fixture(scope="session")
def gevent(start_worker: Callable[..., Worker]) -> Worker:
    return start_worker("gevent", pool="gevent", concurrency=4)


@pytest.fixture(scope="session")
def eventlet(start_worker: Callable[..., Worker]) -> Worker:
    pytest.importorskip("eventlet", reason="eventlet does not install here", exc_type=ImportError)
    return start_worker("eventlet", pool="eventlet", concurrency=4)


@pytest.fixture(scope="module")
def worker(request: pytest.FixtureRequest) -> Worker:
    """The one that the test names as its parameter: a pool."""
    found: Worker = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def speaker() -> Iterator[Speaker]:
    """What the tasks of `apps/listening.py` listen to."""
    speaker = Speaker()
    yield speaker
    speaker.close()


@pytest.fixture
def mark() -> str:
    """A name for this test's marks."""
    return uuid.uuid4().hex
