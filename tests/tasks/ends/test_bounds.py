"""The times that are promised, by the clock of Redis where an end is meant. `-s` shows them.

Every one is taken several times, and its median counts: a busy machine may hold up one of them.
"""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery import StreamHandle
from streamstraight_celery.settings import StreamSettings
from tests.tasks.apps import ending
from tests.tasks.ends.conftest import LONG, relay_server
from tests.tasks.ends.reading import Reader
from tests.tasks.ends.stop_times import POOLS, TASKS, once
from tests.tasks.log import ended_log, state_of, wait_for_chunks
from tests.tasks.processes import PATIENCE, Worker, wait_until
from tests.tasks.speaker import Speaker

pytestmark = pytest.mark.faults

# Seconds.
STOP, FAST, STALLED, ENDED = 0.25, 2.0, 15.0, 60.0
STOPS, ENDS, SHUTDOWNS = 9, 5, 3
# Nothing here is ended by a lease that is over.
PATIENT = {"stream_lease": LONG, "stream_reap_after": LONG}


def show(what: str, times: list[float]) -> float:
    """Print what was measured, and return the median (seconds)."""
    median = statistics.median(times)
    print(f"\n{what}: median {median * 1000:.0f} ms, longest {max(times) * 1000:.0f} ms")
    return median


# -- stop


@pytest.mark.parametrize(
    ("pool", "kind"),
    [(pool, kind) for pool in POOLS for kind in TASKS if (pool, kind) != ("threads", "sync")],
)
def test_a_stop_closes_the_connection_to_a_silent_model(
    app: Celery, start_worker: Callable[..., Worker], pool: str, kind: str
) -> None:
    if pool == "eventlet":
        pytest.importorskip(
            "eventlet", reason="eventlet does not install here", exc_type=ImportError
        )
    worker = start_worker(f"stopped-{pool}-{kind}", pool=pool, concurrency=POOLS[pool])

    times = [once(worker.queue, TASKS[kind], closes=True) for _ in range(STOPS)]

    assert show(f"{pool}, {kind}: closed", [closed / 1000 for closed, _ in times]) < STOP
    assert show(f"{pool}, {kind}: ended for readers", [ended / 1000 for _, ended in times]) < STOP


def test_a_stop_ends_a_stream_whose_generator_cannot_be_interrupted(
    app: Celery, start_worker: Callable[..., Worker]
) -> None:
    worker = start_worker("stopped-threads", pool="threads", concurrency=POOLS["threads"])

    times = [once(worker.queue, TASKS["sync"], closes=False) for _ in range(STOPS)]

    assert show("threads, sync: ended for readers", [ended / 1000 for _, ended in times]) < STOP


# -- ends that the worker's parent process tells


@pytest.fixture(scope="module")
def worker(start_worker: Callable[..., Worker]) -> Worker:
    return start_worker("bounds", PATIENT)


def begin(worker: Worker, speaker: Speaker, task: Any) -> tuple[StreamHandle, int, float]:
    """A stream, its process, and when its task connected (seconds since the epoch)."""
    stream = task.apply_stream((speaker.port,), queue=worker.queue)
    speaker.answer()
    connected = time.time()
    speaker.say("one")
    return stream, int(wait_for_chunks(task.app, stream.id, 2).chunks[0]), connected


def end_of(app: Celery, stream: StreamHandle) -> float:
    """When a stream ended, by the clock of Redis, which is this machine's."""
    return ended_log(app, stream.id).state.ended / 1000


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGQUIT])
def test_a_killed_process_ends_its_stream_soon(
    app: Celery, worker: Worker, speaker: Speaker, number: signal.Signals
) -> None:
    times = []
    for _ in range(ENDS):
        stream, pid, _ = begin(worker, speaker, ending.killable)
        killed = time.time()
        os.kill(pid, number)
        times.append(end_of(app, stream) - killed)

    assert show(f"{number.name} of the process", times) < FAST


def test_the_hard_time_limit_ends_its_stream_soon(
    app: Celery, worker: Worker, speaker: Speaker
) -> None:
    times = []
    for _ in range(ENDS):
        stream, _, connected = begin(worker, speaker, ending.limited_hard)
        times.append(end_of(app, stream) - connected - ending.limited_hard.time_limit)

    assert show("hard time limit", times) < FAST


def test_a_terminated_task_ends_its_stream_soon(
    app: Celery, worker: Worker, speaker: Speaker
) -> None:
    times = []
    for _ in range(ENDS):
        stream, _, _ = begin(worker, speaker, ending.killable)
        asked = time.time()
        app.control.revoke(stream.task_id, terminate=True)
        times.append(end_of(app, stream) - asked)

    assert show("revoke(terminate=True)", times) < FAST


def test_a_lost_process_hands_its_stream_on_soon(
    app: Celery, worker: Worker, speaker: Speaker
) -> None:
    times = []
    for _ in range(ENDS):
        stream, pid, _ = begin(worker, speaker, ending.requeued)
        killed = time.time()
        os.kill(pid, signal.SIGKILL)
        # The second attempt has claimed the stream before it connects.
        speaker.answer()
        times.append(time.time() - killed)
        assert state_of(app, stream.id).attempt == 2
        speaker.hang_up()
        ended_log(app, stream.id)

    assert show("reject_on_worker_lost, until the next attempt", times) < FAST


@pytest.mark.parametrize("task", [ending.killable, ending.killable_late])
def test_a_cold_shutdown_ends_its_stream_soon(
    app: Celery, start_worker: Callable[..., Worker], speaker: Speaker, task: Any
) -> None:
    times = []
    for count in range(SHUTDOWNS):
        worker = start_worker(f"cold-{task.__name__}-{count}", PATIENT)
        stream, _, _ = begin(worker, speaker, task)
        asked = time.time()
        worker.process.send_signal(signal.SIGQUIT)
        state = wait_until(lambda found=stream.id: over(app, found), "it is let go")
        times.append((state.ended / 1000 if state.ended else time.time()) - asked)
        worker.stop()

    assert show(f"cold shutdown, {task.__name__}", times) < FAST


def over(app: Celery, stream_id: str) -> Any:
    """The state of a stream that has ended or was released, else None."""
    state = state_of(app, stream_id)
    return state if state.end or state.released else None


# -- nobody is left to tell


def test_readers_of_a_lost_worker_know_in_time_with_the_default_settings(
    app: Celery,
    conf: dict[str, Any],
    start_worker: Callable[..., Worker],
    speaker: Speaker,
    tmp_path: Path,
) -> None:
    default = StreamSettings()
    changes = {"stream_lease": default.lease, "stream_reap_after": default.reap_after}
    worker = start_worker("lost-by-default", changes)
    with relay_server({**conf, **changes}, tmp_path) as relay:
        stream, _, _ = begin(worker, speaker, ending.killable)
        reader = Reader(relay, stream)
        wait_until(lambda: len(reader.got.chunks) == 2, "the reader has what there is")
        lost = time.monotonic()
        worker.kill()
        wait_until(lambda: "stalled" in reader.got.statuses, "it is stalled", PATIENCE)
        stalled = time.monotonic() - lost
        reading = reader.finish()
        ended = time.monotonic() - lost

    print(f"\nlost worker: stalled after {stalled:.1f} s, ended after {ended:.1f} s")
    assert reading.end is not None
    assert reading.end["endReason"] == "producer-disconnected"
    assert stalled < STALLED
    assert ended < ENDED
