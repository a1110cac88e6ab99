"""Stream tasks in real Celery workers of every pool, through `streamstraight://`."""

from __future__ import annotations

import gc
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psutil
import pytest
from celery import Celery
from celery._state import get_current_app

from streamstraight_celery.errors import StreamClosedError
from streamstraight_celery.relays.requests import Create, Stop
from tests.conftest import RedisServer, eventually
from tests.streamstraight.servers import KEY, Ours
from tests.tasks.apps import failing, forms, listening, resuming
from tests.tasks.apps.marks import marks
from tests.tasks.conftest import close_app
from tests.tasks.processes import PATIENCE, Worker
from tests.tasks.speaker import Speaker

POOLS = ["prefork", "threads", "solo", "gevent"]


@pytest.fixture(scope="module")
def conf(redis_server: RedisServer, shared_servers: dict[str, Any]) -> dict[str, Any]:
    return {
        "broker_url": redis_server.new_database(),
        "result_backend": redis_server.new_database(),
        "broker_connection_retry_on_startup": True,
        "worker_prefetch_multiplier": 1,
        "stream_relay_url": f"streamstraight+http://127.0.0.1:{shared_servers['ours'].port}",
        "stream_api_key": KEY,
    }


@pytest.fixture
def app(conf: dict[str, Any]) -> Iterator[Celery]:
    before = get_current_app()
    app = Celery("hosted", set_as_current=False)
    app.conf.update(conf)
    app.set_current()
    yield app
    gc.collect()
    before.set_current()
    close_app(app)


@pytest.fixture(scope="module")
def workers(
    conf: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Worker]]:
    """A worker of each pool, started when first asked for."""
    folder = tmp_path_factory.mktemp("workers")
    started: dict[str, Worker] = {}

    def get(pool: str) -> Worker:
        if pool not in started:
            # No more child processes than needed: what is left in one is looked at.
            concurrency = 1 if pool in ("prefork", "solo") else 4
            worker = Worker(f"hosted-{pool}", conf, folder, pool=pool, concurrency=concurrency)
            started[pool] = worker.start()
        return started[pool]

    yield get
    for worker in started.values():
        worker.ask_to_stop()
    for worker in started.values():
        worker.stop()


@pytest.fixture
def mark() -> str:
    """A name for this test's marks."""
    return uuid.uuid4().hex


def family(worker: Worker) -> list[psutil.Process]:
    return [worker.process, *worker.process.children(recursive=True)]


def connections(worker: Worker, server: Ours) -> int:
    return sum(
        bool(each.raddr) and each.raddr[1] == server.port
        for process in family(worker)
        for each in process.net_connections("tcp")
    )


@pytest.mark.parametrize("pool", POOLS)
def test_a_task_streams_and_leaves_nothing_behind(
    app: Celery, ours: Ours, workers: Callable[[str], Worker], pool: str
) -> None:
    worker = workers(pool)
    for _ in range(3):
        handle = forms.bare.apply_stream(("one two three",), queue=worker.queue)
        assert handle.result.get(timeout=PATIENCE)["end_reason"] == "completed"
        assert ours.log(handle.id) == (['"one"', '"two"', '"three"'], "completed")
    threads = sum(process.num_threads() for process in family(worker))
    eventually(lambda: not connections(worker, ours))
    handle = forms.bare.apply_stream(("again",), queue=worker.queue)
    handle.result.get(timeout=PATIENCE)
    eventually(lambda: not connections(worker, ours))
    assert sum(process.num_threads() for process in family(worker)) <= threads

    ref = handle.ref()
    assert ref["url"] == f"https://relay.example/v1/stream/{handle.id}"
    answer = httpx.get(
        f"{ours.url}/v1/stream/{handle.id}", headers={"Authorization": f"Bearer {ref['token']}"}
    )
    assert answer.json() == ["again"]


@pytest.mark.parametrize(
    ("pool", "task"),
    [
        ("prefork", listening.listening),
        ("prefork", listening.listening_asynchronously),
        ("threads", listening.listening_asynchronously),
        ("solo", listening.listening),
        ("gevent", listening.listening_asynchronously),
    ],
)
def test_a_generator_that_waits_is_stopped(
    app: Celery, ours: Ours, workers: Callable[[str], Worker], mark: str, pool: str, task: Any
) -> None:
    worker = workers(pool)
    speaker = Speaker()
    handle = task.apply_stream((speaker.port, mark), queue=worker.queue)
    speaker.answer()
    speaker.say("one", "two")
    eventually(lambda: len(ours.log(handle.id)[0]) == 2)

    assert handle.stop() is True

    assert speaker.hears_hang_up()
    speaker.close()
    assert handle.result.get(timeout=PATIENCE)["end_reason"] == "stopped"
    assert ours.log(handle.id) == (['"one"', '"two"'], "stopped")
    assert marks(f"{mark}:finally") == [""]
    eventually(lambda: not connections(worker, ours))


def test_a_retry_begins_anew(
    app: Celery, ours: Ours, workers: Callable[[str], Worker], mark: str
) -> None:
    worker = workers("prefork")
    handle = failing.flaky.apply_stream((mark,), queue=worker.queue)
    handle.result.get(timeout=PATIENCE)
    state = ours.relay.state(handle.id)
    assert (state.end, state.attempt) == ("completed", 2)


def test_what_was_to_be_resumed_begins_anew(
    app: Celery, ours: Ours, workers: Callable[[str], Worker]
) -> None:
    worker = workers("prefork")
    handle = resuming.retried_and_resumed.apply_stream((), queue=worker.queue)
    assert handle.result.get(timeout=PATIENCE)["end_reason"] == "completed"
    assert ours.log(handle.id) == (["0", "1", "2", '"end"'], "completed")


def test_a_checkpoint_is_no_error(
    app: Celery, ours: Ours, workers: Callable[[str], Worker]
) -> None:
    worker = workers("prefork")
    speaker = Speaker()
    handle = resuming.counting.apply_stream((speaker.port,), queue=worker.queue)
    speaker.answer()
    speaker.say("save", "one")
    speaker.hang_up()
    assert handle.result.get(timeout=PATIENCE)["end_reason"] == "completed"
    texts, end = ours.log(handle.id)
    assert (texts[1:], end) == (['"save"', '"one"'], "completed")
    speaker.close()


def test_a_task_that_must_not_run_twice_fails(
    app: Celery, ours: Ours, workers: Callable[[str], Worker], mark: str
) -> None:
    worker = workers("prefork")
    speaker = Speaker()
    handle = resuming.once.apply_stream((speaker.port, mark), queue=worker.queue)
    speaker.answer()
    eventually(lambda: ours.log(handle.id)[0])
    first, _ = ours.log(handle.id)
    os.kill(int(first[0]), signal.SIGKILL)

    with pytest.raises(StreamClosedError, match="producer-disconnected"):
        handle.result.get(timeout=PATIENCE)
    eventually(lambda: ours.log(handle.id)[1])
    # Readers keep what they have.
    assert ours.log(handle.id) == (first, "producer-disconnected")
    assert marks(mark) == [""]
    speaker.close()


@pytest.mark.parametrize("terminated", [False, True], ids=["hard time limit", "revoked"])
def test_what_only_the_workers_parent_sees_ends_as_a_lost_producer(
    app: Celery, ours: Ours, workers: Callable[[str], Worker], terminated: bool
) -> None:
    """As docs/streamstraight.md says: on Redis the parent process tells the relay why."""
    worker = workers("prefork")
    speaker = Speaker()
    task = listening.listening if terminated else listening.killed
    handle = task.apply_stream((speaker.port,), queue=worker.queue)
    speaker.answer()
    speaker.say("one")
    eventually(lambda: '"one"' in ours.log(handle.id)[0])
    if terminated:
        app.control.revoke(handle.task_id, terminate=True)
    eventually(lambda: ours.log(handle.id)[1], timeout=PATIENCE)
    assert ours.log(handle.id)[1] == "producer-disconnected"
    speaker.close()


def test_one_that_was_stopped_while_it_was_queued(
    app: Celery, ours: Ours, workers: Callable[[str], Worker]
) -> None:
    worker = workers("prefork")
    name = uuid.uuid4().hex
    ours.relay.call(Create(name, name))
    ours.relay.call(Stop(name))
    handle = forms.bare.apply_stream(("never",), stream_id=name, queue=worker.queue)
    assert handle.result.get(timeout=PATIENCE)["end_reason"] == "stopped"
    assert ours.log(name) == ([], "stopped")


def test_readers_may_be_there_before_the_task_begins(
    app: Celery, ours: Ours, workers: Callable[[str], Worker]
) -> None:
    worker = workers("prefork")
    handle = forms.bare.apply_stream(("late",), queue="one that no worker reads")
    ref = handle.ref()
    url = f"{ours.url}/v1/stream/{handle.id}"
    headers = {"Authorization": f"Bearer {ref['token']}"}
    early = httpx.get(url, headers=headers)
    assert (early.status_code, early.json()) == (200, [])
    handle = forms.bare.apply_stream(("late",), stream_id=handle.id, queue=worker.queue)
    assert handle.result.get(timeout=PATIENCE)["end_reason"] == "completed"
    assert httpx.get(url, headers=headers).json() == ["late"]
    handle.ref()  # once more is no harm
    assert ours.log(handle.id) == (['"late"'], "completed")
