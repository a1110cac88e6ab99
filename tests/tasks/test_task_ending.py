"""Why a task is ended, and what it may still send then."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery.producing.generators import MOST_LAST_CHUNKS
from tests.tasks.apps import sending
from tests.tasks.apps.marks import marks
from tests.tasks.log import ended_log, wait_for_chunks
from tests.tasks.processes import PATIENCE, Worker, wait_until
from tests.tasks.speaker import Speaker

TELLING = [sending.telling, sending.telling_asynchronously]


def last_words(status: str) -> dict[str, str]:
    return {"type": sending.FINISHED, "status": status}


@pytest.mark.parametrize("worker", ["prefork", "threads", "solo", "gevent"], indirect=True)
@pytest.mark.parametrize("task", [*TELLING, sending.telling_afterwards])
def test_a_last_chunk_tells_readers_of_a_stop(
    app: Celery, worker: Worker, speaker: Speaker, mark: str, task: Any
) -> None:
    stream = task.apply_stream((speaker.port, mark), queue=worker.queue)
    speaker.answer()
    speaker.say("one")
    wait_for_chunks(app, stream.id, 2)

    stream.stop()

    log = ended_log(app, stream.id)
    assert (log.chunks, log.end) == (["beginning", "one", last_words("stopped")], "stopped")
    assert marks(f"{mark}:ending") == ["stopped"]
    assert speaker.hears_hang_up()


@pytest.mark.parametrize("worker", ["prefork", "threads", "gevent"], indirect=True)
@pytest.mark.parametrize("task", TELLING)
def test_a_last_chunk_tells_readers_of_a_time_limit(
    app: Celery, worker: Worker, speaker: Speaker, mark: str, task: Any
) -> None:
    stream = task.apply_stream((speaker.port, mark), queue=worker.queue, soft_time_limit=1)

    log = ended_log(app, stream.id)

    assert (log.chunks, log.end) == (["beginning", last_words("time-limit")], "producer-error")
    assert log.error["code"] == "time-limit"
    assert marks(f"{mark}:ending") == ["time-limit"]


@pytest.mark.parametrize("worker", ["prefork", "gevent"], indirect=True)
@pytest.mark.parametrize("task", TELLING)
def test_a_task_knows_that_it_is_revoked(
    app: Celery, worker: Worker, speaker: Speaker, mark: str, task: Any
) -> None:
    stream = task.apply_stream((speaker.port, mark), queue=worker.queue)
    speaker.answer()
    wait_for_chunks(app, stream.id, 1)

    app.control.revoke(stream.task_id, terminate=True)

    wait_until(lambda: marks(f"{mark}:ending"), "its finally block runs")
    assert marks(f"{mark}:ending") == ["revoked"]
    assert ended_log(app, stream.id).end == "stopped"


def test_a_task_knows_that_its_worker_shuts_down(
    app: Celery, start_worker: Callable[..., Worker], speaker: Speaker, mark: str
) -> None:
    worker = start_worker(f"shutdown-{mark}")
    stream = sending.telling.apply_stream((speaker.port, mark), queue=worker.queue)
    speaker.answer()
    wait_for_chunks(app, stream.id, 1)

    worker.process.send_signal(signal.SIGQUIT)

    wait_until(lambda: marks(f"{mark}:ending"), "its finally block runs")
    assert marks(f"{mark}:ending") == ["shutdown"]
    assert ended_log(app, stream.id).end == "producer-disconnected"


def test_a_process_that_somebody_else_terminates_is_terminated(
    app: Celery, start_worker: Callable[..., Worker], speaker: Speaker, mark: str
) -> None:
    worker = start_worker(f"terminated-{mark}")
    stream = sending.telling.apply_stream((speaker.port, mark), queue=worker.queue)
    speaker.answer()
    wait_for_chunks(app, stream.id, 1)

    os.kill(worker.active(app, stream.task_id)["worker_pid"], signal.SIGTERM)

    wait_until(lambda: marks(f"{mark}:ending"), "its finally block runs")
    assert marks(f"{mark}:ending") == ["terminated"]


@pytest.mark.parametrize(
    ("task", "ending"), [(sending.refusing, "failed"), (sending.raising, "None")]
)
def test_an_error_of_its_own_is_not_an_ending(
    app: Celery, prefork: Worker, mark: str, task: Any, ending: str
) -> None:
    stream = task.stream(mark)

    log = ended_log(app, stream.id)

    assert log.chunks == ["beginning"] + ["the last"] * (task is sending.raising)
    assert (log.end, marks(f"{mark}:ending")) == ("producer-error", [ending])


def test_last_chunks_are_few(app: Celery, prefork: Worker, mark: str) -> None:
    stream = sending.chattering.stream(mark)
    wait_for_chunks(app, stream.id, 1)

    stream.stop()

    log = ended_log(app, stream.id)
    assert log.chunks[0] == "beginning"
    assert 1 < len(log.chunks) <= 1 + MOST_LAST_CHUNKS
    assert log.end == "stopped"
    assert stream.result.get(timeout=PATIENCE)["end_reason"] == "stopped"
    assert marks(f"{mark}:finally") == [""]
