"""A worker's metrics, scraped from real workers."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from prometheus_client import CollectorRegistry, generate_latest

from streamstraight_celery.errors import MissingDependencyError
from streamstraight_celery.ids import STREAM_ID_HEADER
from streamstraight_celery.relays.requests import Claim, Create, Reap, Release, Stop
from streamstraight_celery.runtime import Runtime
from streamstraight_celery.testing import StreamTester
from streamstraight_celery.worker.metrics import WorkerMetrics, load_prometheus
from tests.conftest import free_port
from tests.tasks.apps import failing, listening
from tests.tasks.log import ended_log, wait_for_chunks
from tests.tasks.processes import Worker, wait_until
from tests.tasks.speaker import Speaker

from .scraping import Scrape, scrape
from .tasks import app as here
from .tasks import broken, endless, flaky, meddled, speak


@pytest.fixture
def counted() -> Iterator[Callable[[], Scrape]]:
    """Counts the streams of this process; call it for a scrape."""
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)
    metrics.connect()
    yield lambda: Scrape(generate_latest(registry).decode())
    metrics.disconnect()


def test_streams_are_counted_by_task_and_end(counted: Callable[[], Scrape]) -> None:
    with StreamTester(here) as tester:
        tester.run(speak, "one two three")
        tester.run(broken, "so far")
        tester.run(flaky)
    with StreamTester(here, stop_after=2) as tester:
        tester.run(endless)
    found = counted()
    assert found.value("streams_started_total") == 5
    ends = {
        (speak, "completed"): 1, (broken, "producer-error"): 1, (flaky, "released"): 1,
        (flaky, "completed"): 1, (endless, "stopped"): 1, (speak, "stopped"): 0,
    }  # fmt: skip
    for (task, reason), number in ends.items():
        assert found.value("streams_ended_total", task=task.name, reason=reason) == number
    assert found.value("streams_active") == 0
    assert found.value("first_chunk_seconds_count", task=speak.name) == 1
    assert found.value("stream_seconds_count", task=flaky.name) == 2


def test_chunks_and_flushes_are_counted(counted: Callable[[], Scrape]) -> None:
    with StreamTester(here, buffer_chunks=100) as tester:
        tester.run(speak, "one two three")
    found = counted()
    assert (found.value("chunks_sent_total"), found.value("bytes_sent_total")) == (3, 17)
    assert found.value("flush_chunks_sum") == 3
    assert 1 <= found.value("flush_seconds_count") <= found.value("flush_chunks_count") <= 3
    assert found.value("flush_failures_total") == 0


def test_flushes_without_an_answer_are_counted(counted: Callable[[], Scrape]) -> None:
    with StreamTester(here, relay_down_after=1) as tester:
        tester.run(endless)
    assert counted().value("flush_failures_total") >= 1
    assert counted().value("streams_ended_total", reason="relay-unavailable") == 1


def test_an_end_that_somebody_else_has_written_is_not_counted_again(
    counted: Callable[[], Scrape],
) -> None:
    with StreamTester(here) as tester:
        run = tester.run(meddled, tester.lose_producer)
    assert run.end_reason == "producer-disconnected"
    found = counted()
    assert found.value("streams_ended_total", reason="closed") == 1
    assert found.value("streams_ended_total", reason="producer-disconnected") == 0


def test_a_stream_that_is_stopped_between_two_attempts_is_counted(
    counted: Callable[[], Scrape],
) -> None:
    with StreamTester(here):
        relay = Runtime.of(here).relay
        relay.call(Create("s", "task"))
        relay.call(Claim("s", "aaaaaaaa", "task"))
        relay.call(Release("s", 1, "aaaaaaaa", 60_000))
        assert relay.call(Stop("s")).kind == "ended"
        speak.push_request(id="task", headers={STREAM_ID_HEADER: "s"}, called_directly=False)
        try:
            assert speak.run("one two")["end_reason"] == "stopped"
        finally:
            speak.pop_request()
    assert counted().value("streams_ended_total", task=speak.name, reason="stopped") == 1


def test_prometheus_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingDependencyError, match=r"streamstraight-celery\[metrics\]"):
        load_prometheus()


@pytest.fixture
def metered(start_worker: Callable[..., Worker]) -> Callable[[str, int], tuple[Worker, int]]:
    """Starts a worker that serves metrics, and tells where."""

    def start(pool: str, concurrency: int) -> tuple[Worker, int]:
        port = free_port()
        name = f"metered-{pool}"
        changes = {"stream_metrics_port": port}
        return start_worker(name, changes, pool=pool, concurrency=concurrency), port

    return start


def scraped(port: int, is_it: Callable[[Scrape], Any], what: str) -> Scrape:
    def look() -> Scrape | None:
        with contextlib.suppress(OSError):
            found = scrape(port)
            return found if is_it(found) else None
        return None

    found = wait_until(look, what)
    assert found is not None
    return found


@pytest.mark.parametrize(("pool", "concurrency"), [("prefork", 2), ("threads", 2)])
def test_a_worker_shows_what_all_its_processes_do(
    app: Celery, speaker: Speaker, mark: str, metered: Any, pool: str, concurrency: int
) -> None:
    worker, port = metered(pool, concurrency)
    task = listening.listening
    # Both at once, so that two pool processes have something to tell.
    streams = []
    for number in range(2):
        streams.append(task.apply_stream((speaker.port, f"{mark}{number}"), queue=worker.queue))
        speaker.answer()
        speaker.say("one", "two")
        wait_for_chunks(app, streams[-1].id, 2)
    scraped(port, lambda found: found.value("streams_active") == 2, "two streams are shown")
    failed = failing.broken.apply_stream(("secret words",), queue=worker.queue)
    for _ in streams:
        speaker.hang_up()
    for stream in (failed, *streams):
        ended_log(app, stream.id)
    found = scraped(
        port, lambda found: found.value("streams_ended_total") == 3, "three ends are shown"
    )
    assert found.value("streams_ended_total", task=task.name, reason="completed") == 2
    assert found.value("streams_ended_total", reason="producer-error") == 1
    assert found.value("first_chunk_seconds_count", task=task.name) == 2
    assert found.value("chunks_sent_total") == 5
    assert found.value("streams_active") == 0
    if pool == "prefork":
        assert_killed_streams_are_active_no_longer(app, worker, port, speaker, mark)


def assert_killed_streams_are_active_no_longer(
    app: Celery, worker: Worker, port: int, speaker: Speaker, mark: str
) -> None:
    stream = listening.listening.apply_stream((speaker.port, mark), queue=worker.queue)
    speaker.answer()
    scraped(port, lambda found: found.value("streams_active") == 1, "a stream is shown")
    os.kill(worker.active(app, stream.task_id)["worker_pid"], signal.SIGKILL)
    scraped(port, lambda found: found.value("streams_active") == 0, "it is shown no longer")


def test_each_end_is_counted_once_whoever_tells_it(
    app: Celery, speaker: Speaker, mark: str, metered: Any
) -> None:
    worker, port = metered("prefork", 1)
    task, queue = listening.listening, worker.queue
    killed = task.apply_stream((speaker.port, mark), queue=queue)
    speaker.answer()
    os.kill(worker.active(app, killed.task_id)["worker_pid"], signal.SIGKILL)
    limited = task.apply_stream((speaker.port, mark), queue=queue, time_limit=1)
    speaker.answer()
    late = task.apply_stream((speaker.port, mark), queue=queue, expires=0.1)
    failed = failing.broken.apply_stream(("secret words",), queue=queue)
    told = {killed.id: "producer-disconnected", limited.id: "producer-error", late.id: "expired"}
    for stream_id, end in {**told, failed.id: "producer-error"}.items():
        assert ended_log(app, stream_id).end == end
        # The relay server has nothing left to end, and to count.
        assert Runtime.of(app).relay.call(Reap(stream_id)).kind == "closed"
    found = scraped(
        port, lambda found: found.value("streams_ended_total") >= 4, "four ends are shown"
    )
    ends = {
        (task, "producer-disconnected"): 1, (task, "producer-error"): 1, (task, "expired"): 1,
        (failing.broken, "producer-error"): 1,
    }  # fmt: skip
    for (ended, reason), number in ends.items():
        assert found.value("streams_ended_total", task=ended.name, reason=reason) == number
    # The limit's SIGTERM may have let its process see that the stream had ended, or let it go
    # before that, or neither.
    left = sum(found.value("streams_ended_total", reason=each) for each in ("closed", "released"))
    assert left <= 1
    assert found.value("streams_ended_total") == 4 + left
    assert found.value("streams_started_total") == 3
    assert found.value("streams_active") == 0


def test_a_stream_that_is_stopped_in_its_queue_is_counted_when_a_worker_takes_its_task(
    app: Celery, speaker: Speaker, mark: str, metered: Any
) -> None:
    worker, port = metered("prefork", 1)
    task, queue = listening.listening, worker.queue
    first = task.apply_stream((speaker.port, mark), queue=queue)
    speaker.answer()
    queued = task.apply_stream((speaker.port, mark), queue=queue)
    assert queued.stop()
    assert ended_log(app, queued.id).end == "stopped"
    speaker.hang_up()
    assert ended_log(app, first.id).end == "completed"
    found = scraped(
        port, lambda found: found.value("streams_ended_total") == 2, "both ends are shown"
    )
    assert found.value("streams_ended_total", task=task.name, reason="stopped") == 1
    assert found.value("streams_started_total") == 1
