"""A generator that calls `sys.exit()` and the like, where that ends no process of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery import StreamError
from tests.tasks.apps import failing
from tests.tasks.apps.failing import EXITS
from tests.tasks.log import ended_log
from tests.tasks.processes import PATIENCE, Worker


@pytest.fixture(scope="module")
def threads(start_worker: Callable[..., Worker]) -> Worker:
    return start_worker("exits-threads", pool="threads")


@pytest.fixture(scope="module")
def gevent(start_worker: Callable[..., Worker]) -> Worker:
    return start_worker("exits-gevent", pool="gevent")


@pytest.fixture(scope="module")
def solo(start_worker: Callable[..., Worker]) -> Worker:
    return start_worker("exits-solo", pool="solo", concurrency=1)


@pytest.fixture(scope="module")
def worker(request: pytest.FixtureRequest) -> Worker:
    found: Worker = request.getfixturevalue(request.param)
    return found


TASKS = [failing.exiting, failing.exiting_asynchronously]
CASES = [
    *[(pool, task, kind) for pool in ("threads", "gevent") for task in TASKS for kind in EXITS],
    # In a main thread, sys.exit() does end its process.
    *[(pool, failing.exiting, "cancel") for pool in ("prefork", "solo")],
]


@pytest.mark.parametrize(("worker", "task", "kind"), CASES, indirect=["worker"])
def test_the_stream_ends_and_the_task_fails(
    app: Celery, worker: Worker, task: Any, kind: str
) -> None:
    stream = task.apply_stream((kind,), queue=worker.queue)

    # Celery itself would wait for such a task, and nobody end its stream.
    log = ended_log(app, stream.id)
    assert (log.chunks, log.end) == (["beginning"], "producer-error")
    with pytest.raises(StreamError, match="within"):
        stream.result.get(timeout=PATIENCE)
