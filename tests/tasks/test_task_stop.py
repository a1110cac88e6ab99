"""Stop means stop: the generator is closed, and the connection it reads from, in every pool."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery import StreamHandle, StreamTask
from streamstraight_celery.relays.requests import Stop
from tests.tasks.apps import failing, forms, listening
from tests.tasks.apps.marks import marks
from tests.tasks.log import Log, ended_log, relay_of, wait_for_chunks
from tests.tasks.processes import PATIENCE, Worker, wait_until
from tests.tasks.speaker import Speaker


def assert_stopped(app: Celery, stream: StreamHandle, chunks: list[Any] | None = None) -> Log:
    """The stream has ended as stopped, and its task is a success that says so."""
    log = ended_log(app, stream.id)
    assert (log.end, log.error) == ("stopped", None)
    summary = stream.result.get(timeout=PATIENCE)
    assert summary["end_reason"] == "stopped"
    assert summary["stream_id"] == stream.id
    assert stream.result.state == "SUCCESS"
    if chunks is not None:
        assert log.chunks == chunks
        assert summary["chunks"] == len(chunks)
    return log


def assert_takes_the_next_tasks(app: Celery, worker: Worker) -> None:
    streams = [forms.bare.apply_stream(("still here",), queue=worker.queue) for _ in range(4)]
    for stream in streams:
        log = ended_log(app, stream.id)
        assert (log.chunks, log.end, log.error) == (["still", "here"], "completed", None)


# -- while it waits for the LLM


SILENT = [
    pytest.param("prefork", listening.listening, id="prefork, sync"),
    pytest.param("prefork", listening.listening_asynchronously, id="prefork, async"),
    pytest.param("threads", listening.listening_asynchronously, id="threads, async"),
    pytest.param("solo", listening.listening, id="solo, sync"),
    pytest.param("solo", listening.listening_asynchronously, id="solo, async"),
    pytest.param("gevent", listening.listening, id="gevent, sync"),
    pytest.param("gevent", listening.listening_asynchronously, id="gevent, async"),
    pytest.param("eventlet", listening.listening, id="eventlet, sync"),
    pytest.param("eventlet", listening.listening_asynchronously, id="eventlet, async"),
]


@pytest.mark.parametrize(("worker", "task"), SILENT, indirect=["worker"])
def test_a_generator_that_waits_is_closed(
    app: Celery, worker: Worker, speaker: Speaker, mark: str, task: Any
) -> None:
    before = worker.pool_processes()
    stream = task.apply_stream((speaker.port, mark), queue=worker.queue)
    speaker.answer()
    speaker.say("one", "two")
    wait_for_chunks(app, stream.id, 2)

    assert stream.stop() is True

    assert speaker.hears_hang_up()
    assert_stopped(app, stream, ["one", "two"])
    assert marks(f"{mark}:finally") == [""]
    assert_takes_the_next_tasks(app, worker)
    assert worker.pool_processes() == before


@pytest.mark.parametrize(("worker", "task"), SILENT, indirect=["worker"])
def test_a_generator_that_waits_for_its_first_chunk_is_closed(
    app: Celery, worker: Worker, speaker: Speaker, mark: str, task: Any
) -> None:
    stream = task.apply_stream((speaker.port, mark), queue=worker.queue)
    speaker.answer()

    assert stream.stop() is True

    assert speaker.hears_hang_up()
    assert_stopped(app, stream, [])
    assert marks(f"{mark}:finally") == [""]


def test_no_stop_is_lost_however_early_it_comes(
    app: Celery, prefork: Worker, speaker: Speaker, mark: str
) -> None:
    # A signal that comes just before a read begins does not interrupt it.
    for _ in range(50):
        stream = listening.listening.stream(speaker.port, mark)
        speaker.answer()
        stream.stop()
        assert ended_log(app, stream.id, timeout=20).end == "stopped"


def test_a_stop_whose_signal_is_lost_is_repeated(
    another_app: Callable[..., Celery], mark: str
) -> None:
    other = another_app(
        task_always_eager=True, stream_relay_url=f"memory://{mark}", stream_lease=0.3
    )
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE)

    @other.task(base=StreamTask, shared=False, name="deaf-at-first")
    def deaf_at_first() -> Iterator[str]:
        yield "beginning"
        # As when it comes just before a read begins: the read does not notice.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        relay_of(other).call(Stop(f"chat-{mark}"))
        signal.sigwait({signal.SIGUSR2})
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
        yield ours.recv(1).decode()

    with ours, theirs:
        stream = deaf_at_first.apply_stream(stream_id=f"chat-{mark}")

    log = ended_log(other, stream.id)
    assert (log.chunks, log.end) == (["beginning"], "stopped")
    assert stream.result.get()["end_reason"] == "stopped"


@pytest.mark.parametrize("waits", [True, False])
def test_an_error_of_the_clean_up_is_no_error_for_readers(
    app: Celery, prefork: Worker, speaker: Speaker, mark: str, waits: bool
) -> None:
    stream = listening.failing_to_close.stream(speaker.port if waits else 0)
    wait_for_chunks(app, stream.id, 1)

    stream.stop()

    log = ended_log(app, stream.id)
    assert (log.end, log.error) == ("stopped", None)
    # Whoever looks after the tasks is told.
    with pytest.raises(OSError, match="cannot close"):
        stream.result.get(timeout=PATIENCE)


def test_a_stop_is_not_caught_by_except_exception(
    app: Celery, prefork: Worker, speaker: Speaker, mark: str
) -> None:
    stream = listening.catching_all.stream(speaker.port, mark)
    speaker.answer()
    speaker.say("one")
    wait_for_chunks(app, stream.id, 1)

    stream.stop()

    assert_stopped(app, stream, ["one"])
    assert marks(f"{mark}:finally") == [""]
    assert marks(f"{mark}:caught") == []


def test_only_the_stopped_stream_of_a_worker_ends(
    app: Celery, prefork: Worker, speaker: Speaker, mark: str
) -> None:
    other_speaker = Speaker()
    stream = listening.listening.stream(speaker.port, mark)
    other = listening.listening.stream(other_speaker.port, mark)
    speaker.answer()
    other_speaker.answer()

    stream.stop()

    assert_stopped(app, stream, [])
    other_speaker.say("untouched")
    other_speaker.hang_up()
    log = ended_log(app, other.id)
    assert (log.chunks, log.end) == (["untouched"], "completed")
    other_speaker.close()


def test_a_stream_with_a_name_of_its_own_is_stopped(
    app: Celery, prefork: Worker, speaker: Speaker, mark: str
) -> None:
    stream = listening.listening.apply_stream((speaker.port, mark), stream_id=f"chat-{mark}")
    speaker.answer()

    assert stream.stop() is True

    assert speaker.hears_hang_up()
    assert_stopped(app, stream, [])


def test_the_remote_control_command_stops_a_stream(
    app: Celery, prefork: Worker, speaker: Speaker, mark: str
) -> None:
    stream = listening.listening.stream(speaker.port, mark)
    speaker.answer()

    (answer,) = app.control.broadcast(
        "stop_stream",
        arguments={"stream_id": stream.id},
        destination=[prefork.hostname],
        reply=True,
        timeout=PATIENCE,
        limit=1,
    )

    assert answer[prefork.hostname] == {"ok": f"stream {stream.id}: asked"}
    assert_stopped(app, stream, [])


# -- while it talks


@pytest.mark.parametrize(
    ("worker", "task"),
    [
        pytest.param("prefork", listening.talkative, id="prefork, sync"),
        pytest.param("prefork", listening.talkative_asynchronously, id="prefork, async"),
        pytest.param("threads", listening.talkative, id="threads, sync"),
        pytest.param("threads", listening.talkative_asynchronously, id="threads, async"),
        pytest.param("solo", listening.talkative, id="solo, sync"),
        pytest.param("gevent", listening.talkative, id="gevent, sync"),
        pytest.param("gevent", listening.talkative_asynchronously, id="gevent, async"),
        pytest.param("eventlet", listening.talkative, id="eventlet, sync"),
    ],
    indirect=["worker"],
)
def test_a_generator_that_talks_is_closed(
    app: Celery, worker: Worker, mark: str, task: Any
) -> None:
    before = worker.pool_processes()
    stream = task.apply_stream((mark,), queue=worker.queue)
    wait_until(lambda: stream.state().last, "it talks")

    assert stream.stop() is True

    log = assert_stopped(app, stream)
    assert log.chunks == list(range(len(log.chunks)))
    assert marks(f"{mark}:finally") == [""]
    assert_takes_the_next_tasks(app, worker)
    assert worker.pool_processes() == before


def test_a_sync_generator_in_a_thread_is_left_behind(
    app: Celery, start_worker: Callable[..., Worker], speaker: Speaker, mark: str
) -> None:
    # The one that Python cannot interrupt: it is blocked in a read in a thread.
    worker = start_worker(f"threads-{mark}", pool="threads", concurrency=1)
    stream = listening.listening.apply_stream((speaker.port, mark), queue=worker.queue)
    speaker.answer()
    speaker.say("one")
    wait_for_chunks(app, stream.id, 1)

    stream.stop()

    # Readers get the end, the pool's only thread is free, and the connection is closed at once.
    assert_stopped(app, stream, ["one"])
    assert_takes_the_next_tasks(app, worker)
    assert speaker.hears_hang_up()
    wait_until(lambda: marks(f"{mark}:finally"), "its finally block runs")


@pytest.mark.parametrize("worker", ["threads"], indirect=True)
@pytest.mark.parametrize("task", [forms.bound, failing.by_hand])
def test_a_generator_in_a_thread_of_its_own_knows_its_request(
    app: Celery, worker: Worker, task: Any
) -> None:
    stream = task.apply_stream(("?",), queue=worker.queue)

    log = ended_log(app, stream.id)

    if task is forms.bound:
        assert log.chunks[0] == {"stream": stream.id, "task": stream.task_id, "retries": 0}
    else:
        assert (log.chunks, log.state.attempt) == (["2 ?", "enough"], 3)


def test_terminate_stops_a_stream_in_a_thread(
    app: Celery, threads: Worker, speaker: Speaker, mark: str
) -> None:
    stream = listening.listening.apply_stream((speaker.port, mark), queue=threads.queue)
    speaker.answer()
    # So the other workers, which hear of it too, do not take it for one that has not begun.
    assert app.AsyncResult(stream.task_id).state == "STARTED"

    # As Flower's Terminate does; a thread cannot be terminated.
    app.control.revoke(stream.task_id, terminate=True)

    assert_stopped(app, stream, [])


# -- before it starts


@pytest.fixture
def closed_queue(app: Celery, prefork: Worker, mark: str) -> Iterator[Queue]:
    queue = Queue(app, prefork, f"closed-{mark}")
    yield queue
    queue.close()


class Queue:
    """A queue that the worker consumes only when it is told to."""

    def __init__(self, app: Celery, worker: Worker, name: str) -> None:
        self.name = name
        self._control = app.control
        self._worker = worker

    def open(self) -> None:
        self._control.add_consumer(self.name, destination=[self._worker.hostname], reply=True)

    def close(self) -> None:
        self._control.cancel_consumer(self.name, destination=[self._worker.hostname], reply=True)


@pytest.mark.parametrize("task", [listening.listening, listening.listening_asynchronously])
def test_a_queued_task_that_is_stopped_never_starts(
    app: Celery, closed_queue: Queue, speaker: Speaker, mark: str, task: Any
) -> None:
    stream = task.apply_stream((speaker.port, mark), queue=closed_queue.name)

    assert stream.stop() is True

    # Readers need not wait for a worker.
    assert stream.state().end == "stopped"
    closed_queue.open()
    assert_stopped(app, stream, [])
    assert marks(f"{mark}:begun") == []


def test_a_task_that_waits_for_its_countdown_is_stopped(
    app: Celery, prefork: Worker, mark: str
) -> None:
    stream = forms.starting.apply_stream((mark,), countdown=1)

    assert stream.stop() is True

    assert stream.state().end == "stopped"
    assert_stopped(app, stream, [])
    assert marks(mark) == []


def test_a_stream_that_has_ended_cannot_be_stopped(app: Celery, prefork: Worker) -> None:
    stream = forms.bare.stream("one two")
    ended_log(app, stream.id)

    assert stream.stop() is False

    assert stream.state().end == "completed"


# -- the signal


def signals(pid: int, *masks: str) -> int:
    """Signals of a process as Linux shows them: pending (`SigPnd`, `ShdPnd`), caught (`SigCgt`)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    found = 0
    for mask in masks:
        found |= int(status[mask], 16)
    return found


STOP_BIT = 1 << (signal.SIGUSR2 - 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux' /proc")
def test_the_stop_signal_does_not_kill_a_pool_process_that_is_idle(
    app: Celery, start_worker: Callable[..., Worker]
) -> None:
    worker = start_worker("idle")
    before = worker.pool_processes()
    wait_until(
        lambda: all(signals(pid, "SigCgt") & STOP_BIT for pid in before), "they are initialised"
    )

    for pid in before:
        os.kill(pid, signal.SIGUSR2)
    wait_until(
        lambda: not any(signals(pid, "SigPnd", "ShdPnd") & STOP_BIT for pid in before),
        "it is delivered",
    )

    assert_takes_the_next_tasks(app, worker)
    for pid in before:
        os.kill(pid, signal.SIGUSR2)
    assert_takes_the_next_tasks(app, worker)
    assert worker.pool_processes() == before


def test_the_stop_signal_does_not_disturb_a_plain_task(
    app: Celery, prefork: Worker, speaker: Speaker
) -> None:
    before = prefork.pool_processes()
    result = listening.occupied.delay(speaker.port)
    speaker.answer()

    for pid in before:
        os.kill(pid, signal.SIGUSR2)
    speaker.say("un", "disturbed")
    speaker.hang_up()

    assert result.get(timeout=PATIENCE) == "undisturbed"
    assert prefork.pool_processes() == before


def test_the_stop_signal_alone_does_not_stop_a_stream(
    app: Celery, prefork: Worker, speaker: Speaker
) -> None:
    stream = listening.listening.stream(speaker.port)
    speaker.answer()
    speaker.say("one")
    wait_for_chunks(app, stream.id, 1)

    for pid in prefork.pool_processes():
        os.kill(pid, signal.SIGUSR2)
    speaker.say("two")
    speaker.hang_up()

    log = ended_log(app, stream.id)
    assert (log.chunks, log.end) == (["one", "two"], "completed")
