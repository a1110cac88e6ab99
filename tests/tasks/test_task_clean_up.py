"""Readers get a stream's end whatever its generator does afterwards, in every pool."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

from tests.tasks.apps import lingering
from tests.tasks.apps.marks import marks
from tests.tasks.log import ended_log, wait_for_chunks
from tests.tasks.processes import PATIENCE, Worker
from tests.tasks.speaker import Speaker

POOLS = ["prefork", "threads", "solo", "gevent"]


@pytest.fixture(scope="module", params=POOLS)
def worker(request: pytest.FixtureRequest, start_worker: Callable[..., Worker]) -> Worker:
    pool = request.param
    return start_worker(f"{pool}-clean-up", pool=pool, concurrency=1 if pool == "solo" else 4)


@pytest.fixture
def other() -> Iterator[Speaker]:
    speaker = Speaker()
    yield speaker
    speaker.close()


@pytest.mark.parametrize(
    "task", [lingering.waits_for_threads, lingering.waits_for_threads_asynchronously]
)
def test_readers_of_a_stopped_stream_do_not_wait_for_its_clean_up(
    app: Celery, worker: Worker, speaker: Speaker, other: Speaker, mark: str, task: Any
) -> None:
    stream = task.apply_stream((speaker.port, other.port, mark), queue=worker.queue)
    speaker.answer()
    other.answer()
    wait_for_chunks(app, stream.id, 1)

    stream.stop()

    # The call in the other thread is still silent.
    log = ended_log(app, stream.id)
    assert (log.chunks, log.end, log.error) == (["beginning"], "stopped", None)
    other.say("too late")
    other.hang_up()
    assert stream.result.get(timeout=PATIENCE)["end_reason"] == "stopped"
    assert ended_log(app, stream.id).chunks == ["beginning"]
    assert marks(f"{mark}:unreachable") == []


@pytest.mark.parametrize(
    "task", [lingering.retries_on_anything, lingering.retries_on_anything_asynchronously]
)
def test_a_soft_time_limit_is_not_taken_for_a_broken_connection(
    app: Celery, worker: Worker, speaker: Speaker, mark: str, task: Any
) -> None:
    stream = task.apply_stream((speaker.port, mark), queue=worker.queue)
    speaker.answer()

    log = ended_log(app, stream.id)

    assert (log.chunks, log.end) == (["beginning"], "producer-error")
    assert log.error["code"] == "time-limit"
    assert speaker.hears_hang_up()
    assert marks(f"{mark}:caught") == []
    with pytest.raises(SoftTimeLimitExceeded):
        stream.result.get(timeout=PATIENCE)


def test_a_generator_that_names_the_time_limit_may_catch_it(
    app: Celery, worker: Worker, speaker: Speaker
) -> None:
    stream = lingering.apologizes.apply_stream((speaker.port,), queue=worker.queue)
    speaker.answer()

    log = ended_log(app, stream.id)

    if "threads" in worker.queue:  # where nothing can be raised in a read
        assert (log.chunks, log.error["code"]) == ([], "time-limit")
    else:
        assert (log.chunks, log.end) == (["out of time"], "completed")
