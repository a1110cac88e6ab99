"""Redis goes away while a generator runs: it comes back and nothing is missing, or the task fails.

The relay has a Redis of its own here, so that the broker and the results stay.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery import Celery

from streamstraight_celery import RelayUnavailableError, StreamHandle
from streamstraight_celery.offsets import Verdict, judge
from tests.conftest import RedisServer
from tests.tasks.apps import listening
from tests.tasks.apps.marks import marks
from tests.tasks.log import ended_log, read_log, wait_for_chunks
from tests.tasks.processes import PATIENCE, Worker, wait_until
from tests.tasks.speaker import Speaker


@pytest.fixture(scope="module")
def relay_server() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def patient(start_worker: Callable[..., Worker], relay_server: RedisServer) -> Worker:
    """A worker that waits for its relay longer than any of these tests keeps it away."""
    changes = {"stream_relay_url": relay_server.url(), "stream_relay_timeout": PATIENCE}
    return start_worker("patient", changes)


@pytest.fixture(scope="module")
def impatient(start_worker: Callable[..., Worker], relay_server: RedisServer) -> Worker:
    """A worker that gives its relay up soon."""
    changes = {
        "stream_relay_url": f"{relay_server.url()}?socket_timeout=0.3",
        "stream_relay_timeout": 0.5,
    }
    return start_worker("impatient", changes)


@pytest.fixture
def relay_app(another_app: Callable[..., Celery], relay_server: RedisServer) -> Celery:
    return another_app(stream_relay_url=relay_server.url())


def stream_on(relay_app: Celery, worker: Worker, task: Any, *args: Any) -> StreamHandle:
    handle: StreamHandle = relay_app.tasks[task.name].apply_stream(args, queue=worker.queue)
    return handle


BOTH = pytest.mark.parametrize(
    "task", [listening.listening, listening.listening_asynchronously], ids=["sync", "async"]
)


@BOTH
def test_a_relay_that_is_away_for_a_while_gets_every_chunk(
    relay_app: Celery,
    relay_server: RedisServer,
    patient: Worker,
    speaker: Speaker,
    mark: str,
    task: Any,
) -> None:
    stream = stream_on(relay_app, patient, task, speaker.port, mark)
    speaker.answer()
    speaker.say("before", "that")
    before = wait_for_chunks(relay_app, stream.id, 2)

    relay_server.kill()
    speaker.say("during", "that")
    relay_server.start()
    again = wait_for_chunks(relay_app, stream.id, 4)
    speaker.say("after", "that")
    speaker.hang_up()

    log = ended_log(relay_app, stream.id)
    assert log.chunks == ["before", "that", "during", "that", "after", "that"]
    assert (log.end, log.state.attempt) == ("completed", 1)
    # The same attempt under the same mark: a reader goes on from where it was.
    assert log.state.nonce == again.state.nonce == before.state.nonce
    assert judge(before.state.offset(), log.state.segments, ended=True) is Verdict.VALID
    assert marks(f"{mark}:begun") == [""]


def test_stops_do_not_hold_a_worker_up_whose_relay_is_away(
    relay_app: Celery, relay_server: RedisServer, patient: Worker, mark: str
) -> None:
    relay_server.kill()
    try:
        for number in range(200):
            relay_app.control.broadcast(
                "stop_stream",
                arguments={"stream_id": f"{mark}-{number}"},
                destination=[patient.hostname],
            )
        # Were the relay waited for with each of them, this would come in minutes.
        (answer,) = relay_app.control.ping(
            destination=[patient.hostname], timeout=PATIENCE, limit=1
        )
    finally:
        relay_server.start()
    assert answer == {patient.hostname: {"ok": "pong"}}


def test_a_relay_that_lost_its_data_while_the_generator_was_silent_gets_every_chunk(
    relay_app: Celery, relay_server: RedisServer, patient: Worker, speaker: Speaker
) -> None:
    stream = stream_on(relay_app, patient, listening.listening, speaker.port)
    speaker.answer()
    speaker.say("one", "two")
    wait_for_chunks(relay_app, stream.id, 2)

    relay_server.kill()
    relay_server.start()

    # Without a word from the generator: keeping the lease has found that the stream is missing.
    assert wait_for_chunks(relay_app, stream.id, 2).chunks == ["one", "two"]
    speaker.hang_up()
    assert ended_log(relay_app, stream.id).chunks == ["one", "two"]


def test_a_relay_that_lost_the_log_alone_gets_every_chunk(
    relay_app: Celery, relay_server: RedisServer, patient: Worker, speaker: Speaker
) -> None:
    stream = stream_on(relay_app, patient, listening.listening, speaker.port)
    speaker.answer()
    speaker.say("one", "two")
    wait_for_chunks(relay_app, stream.id, 2)

    with redis.Redis.from_url(relay_server.url()) as client:
        assert client.delete(f"ss:{{{stream.id}}}:s") == 1
    speaker.say("three")
    speaker.hang_up()

    assert ended_log(relay_app, stream.id).chunks == ["one", "two", "three"]


def test_a_relay_that_comes_back_at_the_very_end_gets_every_chunk(
    relay_app: Celery, relay_server: RedisServer, patient: Worker, speaker: Speaker, mark: str
) -> None:
    stream = stream_on(relay_app, patient, listening.listening, speaker.port, mark)
    speaker.answer()
    speaker.say("one")
    wait_for_chunks(relay_app, stream.id, 1)

    relay_server.kill()
    speaker.say("two")
    speaker.hang_up()
    wait_until(lambda: marks(f"{mark}:finally"), "the generator has ended")
    relay_server.start()

    log = ended_log(relay_app, stream.id)
    assert (log.chunks, log.end) == (["one", "two"], "completed")


def test_a_task_that_begins_while_the_relay_is_away_waits_for_it(
    relay_app: Celery, relay_server: RedisServer, patient: Worker, speaker: Speaker, mark: str
) -> None:
    relay_server.kill()
    # By name: apply_async() would refuse, because it cannot announce the stream.
    result = relay_app.send_task(
        listening.listening.name, (speaker.port, mark), queue=patient.queue
    )
    wait_until(lambda: f"[{result.id}] received" in patient.log, "the task is there")

    relay_server.start()

    speaker.answer()
    speaker.say("one")
    speaker.hang_up()
    assert ended_log(relay_app, result.id).chunks == ["one"]


@BOTH
def test_a_relay_that_is_away_for_too_long_fails_the_task(
    app: Celery,
    relay_app: Celery,
    relay_server: RedisServer,
    impatient: Worker,
    speaker: Speaker,
    mark: str,
    task: Any,
) -> None:
    stream = stream_on(relay_app, impatient, task, speaker.port, mark)
    speaker.answer()
    speaker.say("one")
    wait_for_chunks(relay_app, stream.id, 1)

    relay_server.kill()
    speaker.say("two")

    # The generator waits: it is closed too, for nobody would get what it yields.
    assert speaker.hears_hang_up()
    with pytest.raises(RelayUnavailableError, match="does not answer"):
        app.AsyncResult(stream.task_id).get(timeout=PATIENCE)
    assert marks(f"{mark}:finally") == [""]
    relay_server.start()
    assert read_log(relay_app, stream.id) is None


def test_a_task_that_failed_for_want_of_a_relay_is_retried_until_it_is_back(
    app: Celery, relay_app: Celery, relay_server: RedisServer, impatient: Worker, speaker: Speaker
) -> None:
    stream = stream_on(relay_app, impatient, listening.persistent, speaker.port)
    speaker.answer()
    wait_for_chunks(relay_app, stream.id, 1)

    relay_server.kill()
    assert speaker.hears_hang_up()
    retried = f"[{stream.task_id}] retry: Retry in"
    wait_until(lambda: impatient.log.count(retried) >= 2, "the relay is away for a retry, too")
    relay_server.start()

    log = ended_log(relay_app, stream.id)
    assert (log.chunks, log.end) == (["again"], "completed")
    assert app.AsyncResult(stream.task_id).get(timeout=PATIENCE)["end_reason"] == "completed"


def test_a_retry_after_the_relay_s_return_takes_the_stream_over(
    relay_app: Celery, relay_server: RedisServer, impatient: Worker, speaker: Speaker
) -> None:
    """Here Redis was only out of reach: it comes back with all it had."""
    stream = stream_on(relay_app, impatient, listening.persistent, speaker.port)
    speaker.answer()
    speaker.say("two")
    first = wait_for_chunks(relay_app, stream.id, 2)

    os.kill(relay_server.pid, signal.SIGSTOP)
    assert speaker.hears_hang_up()
    os.kill(relay_server.pid, signal.SIGCONT)

    log = ended_log(relay_app, stream.id)
    assert first.chunks == ["first", "two"]
    assert (log.chunks, log.end, log.state.attempt) == (["again"], "completed", 2)
    assert judge(first.state.offset(), log.state.segments, ended=True) is Verdict.SUPERSEDED


def test_other_failures_are_not_hidden_by_an_absent_relay(
    app: Celery, relay_app: Celery, relay_server: RedisServer, impatient: Worker, speaker: Speaker
) -> None:
    stream = stream_on(relay_app, impatient, listening.breaking, speaker.port)
    speaker.answer()
    relay_server.kill()
    speaker.say("break")

    with pytest.raises(ValueError, match="it broke"):
        app.AsyncResult(stream.task_id).get(timeout=PATIENCE)
    relay_server.start()
