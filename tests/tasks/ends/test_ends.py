"""A stream whose process cannot end it any more is ended, or handed on, by the worker's parent.

The lease of these streams is longer than any test: nothing here is ended by waiting for it.
"""

from __future__ import annotations

import os
import signal
from datetime import datetime, timedelta, timezone
from typing import Any

import celery
import pytest

from streamstraight_celery import StreamHandle, StreamTask
from tests.tasks.apps import ending, failing, forms, listening
from tests.tasks.apps.marks import marks
from tests.tasks.ends.conftest import Site
from tests.tasks.log import Log, ended_log, read_log, state_of, wait_for_chunks
from tests.tasks.processes import Worker, wait_until
from tests.tasks.speaker import Speaker

# What the fast ways take at most; generous, because the machine may be busy. The lease is longer.
SOON = 20.0

LOST = {
    "code": "producer-disconnected",
    "message": "The answer was interrupted. Please try again.",
}


@pytest.fixture(autouse=True)
def current(app: Any) -> None:
    """Marks are left in the current app's backend."""


def begin(site: Site, worker: Worker, speaker: Speaker, task: Any, *args: Any, **options: Any
          ) -> tuple[StreamHandle, int]:  # fmt: skip
    """Start a task and wait until it listens; returns its stream and its process' id."""
    stream = site.stream(task, speaker.port, *args, queue=worker.queue, **options)
    speaker.answer()
    speaker.say("one")
    log = wait_for_chunks(site.app, stream.id, 2)
    return stream, int(log.chunks[0])


def assert_works(site: Site, worker: Worker) -> None:
    """The worker goes on with its next tasks."""
    streams = [site.stream(forms.bare, "still here", queue=worker.queue) for _ in range(4)]
    for stream in streams:
        assert ended_log(site.app, stream.id).chunks == ["still", "here"]


def assert_ended(log: Log, end: str, code: str | None = None) -> None:
    assert (log.end, log.error and log.error["code"]) == (end, code)


# -- the process is killed


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGQUIT])
@pytest.mark.parametrize("task", [ending.killable, ending.killable_late])
def test_a_killed_process_ends_its_stream(
    site: Site, worker: Worker, speaker: Speaker, task: Any, number: signal.Signals
) -> None:
    stream, pid = begin(site, worker, speaker, task)

    os.kill(pid, number)

    log = ended_log(site.app, stream.id, SOON)
    assert_ended(log, "producer-disconnected", "producer-disconnected")
    assert log.chunks == [pid, "one"]
    assert_works(site, worker)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_ends_the_stream_of_an_async_generator(
    site: Site, worker: Worker, speaker: Speaker, number: signal.Signals
) -> None:
    stream, pid = begin(site, worker, speaker, ending.killable_asynchronously)

    os.kill(pid, number)

    assert ended_log(site.app, stream.id, SOON).end == "producer-disconnected"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_task_that_is_given_back_begins_anew_at_once(
    site: Site, worker: Worker, speaker: Speaker, number: signal.Signals
) -> None:
    stream, pid = begin(site, worker, speaker, ending.requeued)

    os.kill(pid, number)

    speaker.answer()
    speaker.say("two")
    speaker.hang_up()
    log = ended_log(site.app, stream.id, SOON)
    assert (log.end, log.state.attempt) == ("completed", 2)
    assert log.chunks[0] != pid
    assert log.chunks[1:] == ["two"]


@pytest.mark.skipif(celery.VERSION[:2] < (5, 7), reason="retry_on_worker_lost is new in 5.7")
def test_a_task_that_is_retried_when_its_process_is_lost_begins_anew(
    site: Site, worker: Worker, speaker: Speaker
) -> None:
    stream, pid = begin(site, worker, speaker, ending.retried)

    os.kill(pid, signal.SIGKILL)

    speaker.answer()
    speaker.say("two")
    second = wait_for_chunks(site.app, stream.id, 2)
    assert (second.state.attempt, second.chunks[1]) == (2, "two")
    # Its one retry is used up.
    os.kill(second.chunks[0], signal.SIGKILL)
    log = ended_log(site.app, stream.id, SOON)
    assert_ended(log, "producer-disconnected", "producer-disconnected")


# -- time limits


def test_the_hard_time_limit_ends_the_stream(site: Site, worker: Worker, speaker: Speaker) -> None:
    stream, _ = begin(site, worker, speaker, ending.limited_hard)

    log = ended_log(site.app, stream.id, SOON)

    assert_ended(log, "producer-error", "time-limit")
    assert_works(site, worker)


def test_the_hard_time_limit_ends_the_stream_of_a_greenlet(site: Site, speaker: Speaker) -> None:
    # No process is lost there: Celery tells of the time limit and of nothing else.
    worker = site.worker("green", pool="gevent", concurrency=4)
    stream, _ = begin(site, worker, speaker, ending.limited_hard)

    log = ended_log(site.app, stream.id, SOON)

    assert_ended(log, "producer-error", "time-limit")
    assert speaker.hears_hang_up()


def test_a_task_that_is_given_back_at_its_hard_time_limit_begins_anew(
    site: Site, worker: Worker, speaker: Speaker, mark: str
) -> None:
    stream = site.stream(ending.limited_hard_and_requeued, speaker.port, mark, queue=worker.queue)

    log = ended_log(site.app, stream.id, SOON)

    assert (log.end, log.state.attempt, log.chunks) == ("completed", 2, [2])


@pytest.mark.parametrize("task", [listening.hasty, listening.hasty_asynchronously])
def test_the_soft_time_limit_ends_the_stream(
    site: Site, worker: Worker, speaker: Speaker, mark: str, task: Any
) -> None:
    stream = site.stream(task, speaker.port, mark, queue=worker.queue)

    log = ended_log(site.app, stream.id, SOON)

    assert_ended(log, "producer-error", "time-limit")
    assert marks(f"{mark}:finally") == [""]


# -- errors


@pytest.mark.parametrize(
    ("task", "arguments"),
    [
        (failing.broken, ("?",)),
        (failing.broken_asynchronous, ("?",)),
        (failing.broken_at_once, ("?",)),
        (ending.unprepared, ()),
        (ending.rejected, ()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_error_ends_the_stream(
    site: Site, worker: Worker, task: Any, arguments: tuple[str, ...]
) -> None:
    stream = site.stream(task, *arguments, queue=worker.queue)

    assert_ended(ended_log(site.app, stream.id, SOON), "producer-error", "producer-error")


def test_a_task_that_its_worker_does_not_know_ends_its_stream(site: Site, worker: Worker) -> None:
    @site.app.task(base=StreamTask, name="tests.known.nowhere", shared=False)
    def unknown() -> Any:
        yield "never"

    for options in ({}, {"stream_id": f"nobodys-{worker.queue}"}):
        stream = site.stream(unknown, queue=worker.queue, **options)
        log = ended_log(site.app, stream.id, SOON)
        assert_ended(log, "producer-error", "not-registered")

    site.app.send_task("tests.known.nowhere.either", queue=worker.queue)  # has no stream
    assert_works(site, worker)


def test_a_message_that_is_given_back_begins_anew(site: Site, worker: Worker, mark: str) -> None:
    stream = site.stream(ending.rejected_and_requeued, mark, queue=worker.queue)

    log = ended_log(site.app, stream.id, SOON)

    assert (log.end, log.state.attempt, log.chunks) == ("completed", 2, ["attempt 2"])


# -- revoked and expired


@pytest.mark.parametrize("number", ["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("task", [ending.killable, ending.requeued])
def test_a_terminated_task_ends_its_stream_as_stopped(
    site: Site, worker: Worker, speaker: Speaker, task: Any, number: str
) -> None:
    # Flower's Terminate sends the same command.
    stream, pid = begin(site, worker, speaker, task)

    site.app.control.revoke(stream.task_id, terminate=True, signal=number)

    log = ended_log(site.app, stream.id, SOON)
    assert_ended(log, "stopped")
    assert log.chunks == [pid, "one"]
    assert speaker.hears_hang_up()
    assert_works(site, worker)
    assert stream.result.state == "REVOKED"


def test_a_task_that_is_revoked_before_it_is_due_ends_its_stream(
    site: Site, worker: Worker, mark: str
) -> None:
    stream = site.stream(forms.starting, mark, queue=worker.queue, countdown=1)

    site.app.control.revoke(stream.task_id)

    assert_ended(ended_log(site.app, stream.id, SOON), "stopped")
    assert marks(mark) == []


def test_a_task_that_expires_before_it_is_due_ends_its_stream(
    site: Site, worker: Worker, mark: str
) -> None:
    stream = site.stream(forms.starting, mark, queue=worker.queue, countdown=1, expires=0.2)

    log = ended_log(site.app, stream.id, SOON)

    assert_ended(log, "expired", "expired")
    assert marks(mark) == []


# -- nobody comes


@pytest.mark.parametrize(
    "expires",
    [1, timedelta(seconds=1), None],
    ids=["seconds", "datetime", "as long as a stream is kept"],
)
def test_a_stream_that_nobody_begins_expires(site: Site, expires: Any) -> None:
    if isinstance(expires, timedelta):
        expires = datetime.now(timezone.utc) + expires
    stream = site.stream(forms.bare, "?", queue=f"nobody-{site.conf['task_default_queue']}",
                         expires=expires)  # fmt: skip

    left = stream.state().lease_left

    if expires is None:
        assert 3500_000 < left <= 3600_000
    else:
        assert -SOON * 1000 < left <= 1000
    assert read_log(site.app, stream.id) is not None


# -- the worker goes down


def test_a_warm_shutdown_waits_for_the_stream(site: Site, speaker: Speaker) -> None:
    worker = site.worker("warm")
    stream, pid = begin(site, worker, speaker, ending.killable)

    worker.ask_to_stop()
    wait_until(lambda: "Warm shutdown" in worker.log, "it has understood")
    speaker.say("two")
    speaker.hang_up()

    log = ended_log(site.app, stream.id, SOON)
    assert (log.end, log.chunks) == ("completed", [pid, "one", "two"])
    worker.stop()


@pytest.mark.parametrize("soft", [0, 0.5], ids=["cold", "soft"])
def test_a_cold_shutdown_ends_a_stream_that_does_not_come_back(
    site: Site, speaker: Speaker, soft: float
) -> None:
    worker = site.worker(f"cold-{soft}", {"worker_soft_shutdown_timeout": soft})
    stream, _ = begin(site, worker, speaker, ending.killable)

    worker.process.send_signal(signal.SIGQUIT)

    log = ended_log(site.app, stream.id, SOON)
    assert_ended(log, "producer-disconnected", "producer-disconnected")
    assert speaker.hears_hang_up()
    worker.stop()


def test_a_cold_shutdown_hands_a_stream_on_that_comes_back(site: Site, speaker: Speaker) -> None:
    worker = site.worker("first")
    stream, pid = begin(site, worker, speaker, ending.killable_late)

    worker.process.send_signal(signal.SIGQUIT)
    worker.stop()

    state = state_of(site.app, stream.id)
    assert (state.end, state.released) == ("", True)
    # The next worker takes it up when the broker gives the message out again: here, at once.
    site.worker("first", {
        "broker_transport_options": {
            **site.conf.get("broker_transport_options", {}),
            **({"visibility_timeout": 1, "unacked_restore_interval": 1,
                "unacked_restore_throttle": 1} if site.app.conf.broker_url.startswith("redis")
               else {}),
        },
    })  # fmt: skip
    speaker.answer()
    speaker.say("two")
    speaker.hang_up()
    log = ended_log(site.app, stream.id, SOON)
    assert (log.end, log.state.attempt) == ("completed", 2)
    assert log.chunks[0] != pid
    assert log.chunks[1:] == ["two"]


def test_a_cold_shutdown_ends_the_stream_of_a_greenlet(site: Site, speaker: Speaker) -> None:
    worker = site.worker("cold-green", pool="gevent", concurrency=4)
    stream, _ = begin(site, worker, speaker, ending.killable)

    worker.process.send_signal(signal.SIGQUIT)

    log = ended_log(site.app, stream.id, SOON)
    assert_ended(log, "producer-disconnected", "producer-disconnected")
    assert speaker.hears_hang_up()
    worker.stop()
