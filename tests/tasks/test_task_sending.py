"""Chunks that a task sends itself: `self.stream.send()`, `asend()`, `current_stream()`."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from streamstraight_celery import StreamTask, current_stream, stream_task
from streamstraight_celery.errors import NoStreamError
from tests.tasks.apps import sending
from tests.tasks.apps.marks import marks
from tests.tasks.log import ended_log, wait_for_chunks
from tests.tasks.processes import PATIENCE, Worker, wait_until
from tests.tasks.speaker import Speaker

POOLS = ["prefork", "threads", "solo", "gevent"]
WORDS = "each word arrives once and in order"


@pytest.mark.parametrize("worker", POOLS, indirect=True)
@pytest.mark.parametrize(
    "task",
    [
        sending.mixed,
        sending.mixed_asynchronously,
        sending.plain,
        sending.coroutine,
        sending.by_class,
    ],
)
def test_what_is_sent_arrives_in_order(app: Celery, worker: Worker, task: Any) -> None:
    stream = task.apply_stream((WORDS,), queue=worker.queue)

    log = ended_log(app, stream.id)

    assert (log.chunks, log.end, log.error) == (WORDS.split(), "completed", None)
    result = stream.result.get(timeout=PATIENCE)
    if task in (sending.plain, sending.coroutine):
        assert result == {"words": 7}
    elif task is sending.by_class:
        assert (result["chunks"], result["end_reason"]) == (7, "completed")


@pytest.mark.parametrize("worker", POOLS, indirect=True)
def test_threads_send_at_once(app: Celery, worker: Worker) -> None:
    # More than the buffer holds, so that they also wait.
    stream = sending.from_threads.apply_stream((8, 1000), queue=worker.queue)

    log = ended_log(app, stream.id)

    assert (log.end, len(log.chunks)) == ("completed", 8000)
    for thread in range(8):
        assert [number for which, number in log.chunks if which == thread] == list(range(1000))


IN_THE_MIDDLE = [
    sending.reading,
    sending.reading_asynchronously,
    sending.reading_in_thread,
    sending.reading_in_executor,
    sending.reading_beside_loop,
    sending.reading_in_asyncio_task,
]


@pytest.mark.parametrize("worker", POOLS, indirect=True)
@pytest.mark.parametrize("task", IN_THE_MIDDLE)
def test_a_stop_reaches_whoever_sends(
    app: Celery, worker: Worker, speaker: Speaker, mark: str, task: Any
) -> None:
    stream = task.apply_stream((speaker.port, mark), queue=worker.queue)
    speaker.answer()
    speaker.say("one")
    wait_for_chunks(app, stream.id, 1)

    assert stream.stop() is True

    # Although the model is silent.
    assert speaker.hears_hang_up()
    assert ended_log(app, stream.id).end == "stopped"
    assert stream.result.get(timeout=PATIENCE)["end_reason"] == "stopped"
    wait_until(lambda: marks(f"{mark}:finally"), "its finally block runs")
    assert marks(f"{mark}:finally") == [""]


@pytest.mark.parametrize("worker", POOLS, indirect=True)
def test_a_stop_raises_in_a_thread_that_sends(app: Celery, worker: Worker, mark: str) -> None:
    stream = sending.numbering_in_thread.apply_stream((mark,), queue=worker.queue)
    wait_for_chunks(app, stream.id, 10)

    stream.stop()

    log = ended_log(app, stream.id)
    assert (log.chunks, log.end) == (list(range(len(log.chunks))), "stopped")
    wait_until(lambda: marks(f"{mark}:raised"), "the thread ends")
    assert marks(f"{mark}:raised") == ["StreamStopped"]
    assert stream.result.get(timeout=PATIENCE)["end_reason"] == "stopped"


@pytest.mark.parametrize(
    ("kind", "reason", "code"),
    [("object", "producer-error", "encode-error"), ("large", "too-large", "chunk-too-large")],
)
def test_a_chunk_that_cannot_be_sent_fails_the_task_also_when_that_is_caught(
    app: Celery, prefork: Worker, kind: str, reason: str, code: str
) -> None:
    stream = sending.swallowing.stream(kind)

    log = ended_log(app, stream.id)

    assert (log.chunks, log.end, log.error["code"]) == (["before"], reason, code)
    with pytest.raises((TypeError, ValueError)):
        stream.result.get(timeout=PATIENCE)


def test_several_tasks_write_one_stream(app: Celery, prefork: Worker) -> None:
    stream = sending.planning.stream("tea")

    log = ended_log(app, stream.id)

    assert [chunk.get("name") or chunk["text"] for chunk in log.chunks] == [
        "plan",
        "write",
        "About tea.",
    ]
    assert (log.end, log.state.attempt) == ("completed", 2)


def test_what_a_task_keeps_on_itself_is_there_in_its_next_run(app: Celery, solo: Worker) -> None:
    streams = [sending.keeps.apply_stream(queue=solo.queue) for _ in range(2)]
    assert [ended_log(app, stream.id).chunks for stream in streams] == [["made"], ["kept"]]


def test_nothing_can_be_sent_where_no_task_runs(app: Celery) -> None:
    with pytest.raises(NoStreamError, match=r"self\.stream"):
        current_stream()
    with pytest.raises(NoStreamError, match=r"tests\.tasks\.apps\.sending\.plain"):
        sending.plain.stream.send("?")


def test_a_plain_function_has_to_say_that_it_sends() -> None:
    def plain() -> None: ...

    with pytest.raises(TypeError, match="sends=True"):
        stream_task(plain)  # type: ignore[arg-type, type-var]
    with pytest.raises(TypeError, match="sends=True"):

        class Plain(StreamTask):
            def run(self) -> None: ...
