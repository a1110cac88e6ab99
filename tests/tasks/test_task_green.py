"""Stream tasks beside other tasks of a gevent worker: all greenlets share one OS thread."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from celery import Celery

from tests.tasks.apps import green, listening
from tests.tasks.apps.marks import marks
from tests.tasks.log import ended_log, wait_for_chunks
from tests.tasks.processes import PATIENCE, Worker, wait_until
from tests.tasks.speaker import Speaker

READERS = 10


@pytest.fixture(scope="module", params=["gevent"])
def worker(request: pytest.FixtureRequest, start_worker: Callable[..., Worker]) -> Worker:
    return start_worker(f"{request.param}-beside", pool=request.param, concurrency=READERS + 4)


def test_event_loops_leave_other_tasks_alone(
    app: Celery, worker: Worker, speaker: Speaker, mark: str
) -> None:
    def run(task: object, *args: object) -> object:
        return task.apply_async(args, queue=worker.queue).get(timeout=PATIENCE)  # type: ignore[attr-defined]

    stream = listening.listening_asynchronously.apply_stream((speaker.port,), queue=worker.queue)
    speaker.answer()
    speaker.say("one", "two")
    wait_for_chunks(app, stream.id, 2)
    readers = [
        green.reads.apply_async((stream.id, mark), queue=worker.queue) for _ in range(READERS)
    ]
    wait_until(lambda: len(marks(mark)) == READERS, "all read")
    speaker.say("three")
    wait_for_chunks(app, stream.id, 3)

    # While an async generator and ten readers run.
    assert run(green.uses_asyncio) == "fine"
    assert run(green.uses_orm) == 42

    speaker.hang_up()
    assert ended_log(app, stream.id).end == "completed"
    chunks = ["one", "two", "three"]
    assert [each.get(timeout=PATIENCE) for each in readers] == [chunks] * READERS
    # And afterwards.
    assert run(green.publishes) == ["from", "a", "task"]
    assert run(green.uses_asyncio) == "fine"
    assert run(green.uses_orm) == 42


def test_an_async_generator_may_use_threads(app: Celery, worker: Worker) -> None:
    stream = green.with_helpers.apply_stream(("one two",), queue=worker.queue)
    log = ended_log(app, stream.id)
    assert (log.chunks, log.end) == (["ONE", "TWO"], "completed")
