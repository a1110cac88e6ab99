"""The application is told of each stream's end, however it came about."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from streamstraight_celery import StreamHandle
from tests.tasks.apps import saving
from tests.tasks.apps.marks import marks
from tests.tasks.ends.conftest import Site
from tests.tasks.log import read_log, relay_of, wait_for_chunks
from tests.tasks.processes import Worker, wait_until
from tests.tasks.speaker import Speaker


@pytest.fixture(autouse=True)
def current(app: Any) -> None:
    """Marks are left in the current app's backend."""


@pytest.fixture(scope="session")
def savers(site: Site) -> Worker:
    """A worker that runs what is told, while those that stream are killed."""
    name = site.conf["task_default_queue"]
    return site.worker("savers", queue=name)


def saved(stream: StreamHandle) -> list[dict[str, Any]]:
    return [json.loads(text) for text in marks(f"saved-{stream.id}")]


def told(site: Site, stream: StreamHandle) -> dict[str, Any]:
    """Wait until the end is told; what the task was told, which is what readers got."""
    wait_until(lambda: saved(stream), f"the end of {stream.id} is told")
    end = saved(stream)[0]
    log = read_log(site.app, stream.id)
    assert log is not None
    assert end["read"] == log.chunks
    assert (end["reason"], end["error"]) == (log.end, log.error)
    assert (end["attempt"], end["chunks"]) == (log.state.attempt, log.state.last)
    assert (end["bytes"], end["task_id"]) == (log.state.size, stream.task_id)
    assert (end["stream_id"], end["conversation"]) == (stream.id, None)
    wait_until(lambda: relay_of(site.app).state(stream.id).end_told, "it is noted")
    return end


def begin(
    site: Site, worker: Worker, speaker: Speaker, task: Any = saving.saved, **options: Any
) -> tuple[StreamHandle, int]:
    """Start a task and wait until it listens; returns its stream and its process' id."""
    stream = site.stream(task, speaker.port, queue=worker.queue, **options)
    speaker.answer()
    speaker.say("one")
    log = wait_for_chunks(site.app, stream.id, 2)
    return stream, int(log.chunks[0])


@pytest.fixture
def streaming(site: Site, worker: Worker, savers: Worker, speaker: Speaker
              ) -> tuple[StreamHandle, int]:  # fmt: skip
    """A stream with two chunks, and the id of the process that produces it."""
    return begin(site, worker, speaker)


def test_completed(site: Site, streaming: tuple[StreamHandle, int], speaker: Speaker) -> None:
    speaker.hang_up()
    assert told(site, streaming[0])["reason"] == "completed"
    assert len(saved(streaming[0])) == 1


def test_stopped(site: Site, streaming: tuple[StreamHandle, int]) -> None:
    streaming[0].stop()
    assert told(site, streaming[0])["reason"] == "stopped"


@pytest.mark.parametrize("number", ["SIGTERM", "SIGKILL"])
def test_terminated(site: Site, streaming: tuple[StreamHandle, int], number: str) -> None:
    site.app.control.revoke(streaming[0].task_id, terminate=True, signal=number)
    assert told(site, streaming[0])["reason"] == "stopped"


def test_killed(site: Site, streaming: tuple[StreamHandle, int]) -> None:
    os.kill(streaming[1], signal.SIGKILL)
    end = told(site, streaming[0])
    assert end["reason"] == "producer-disconnected"
    assert end["error"]["code"] == "producer-disconnected"


def test_the_time_limit(site: Site, worker: Worker, savers: Worker, speaker: Speaker) -> None:
    stream, _ = begin(site, worker, speaker, saving.saved_within_a_second)
    assert told(site, stream)["error"]["code"] == "time-limit"


@pytest.mark.parametrize("failures", [1, 2], ids=["retried", "retried out"])
def test_after_a_retry(
    site: Site, worker: Worker, savers: Worker, mark: str, failures: int
) -> None:
    stream = site.stream(saving.saved_of_two_attempts, mark, failures, queue=worker.queue)
    end = told(site, stream)
    assert end["reason"] == ["completed", "producer-error"][failures - 1]
    assert (end["attempt"], end["read"]) == (2, ["attempt 2"])
    assert len(saved(stream)) == 1


def test_of_the_attempt_that_came_again(
    site: Site, worker: Worker, savers: Worker, speaker: Speaker
) -> None:
    stream, pid = begin(site, worker, speaker, saving.saved_when_it_comes_again)
    os.kill(pid, signal.SIGKILL)
    speaker.answer()
    speaker.hang_up()
    end = told(site, stream)
    assert (end["reason"], end["attempt"]) == ("completed", 2)
    assert len(saved(stream)) == 1


def test_stopped_in_the_queue(site: Site, savers: Worker, speaker: Speaker) -> None:
    queue = f"nobody-{site.conf['task_default_queue']}"  # of this kind of broker
    stream = site.stream(saving.saved, speaker.port, queue=queue)
    stream.stop()
    end = told(site, stream)
    assert (end["reason"], end["attempt"], end["read"]) == ("stopped", 0, [])


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_never_run(site: Site, worker: Worker, savers: Worker, speaker: Speaker, how: str) -> None:
    options = {"expires": 0.2} if how == "expired" else {}
    stream = site.stream(saving.saved, speaker.port, queue=worker.queue, countdown=1, **options)
    if how == "revoked":
        site.app.control.revoke(stream.task_id)
    assert told(site, stream)["reason"] == {"revoked": "stopped", "expired": "expired"}[how]


def test_a_cold_shutdown(site: Site, savers: Worker, speaker: Speaker) -> None:
    # What is told goes to the savers, and not to a queue that nobody serves any more.
    queue = {"task_default_queue": site.conf["task_default_queue"]}
    worker = site.worker("saved-cold", queue)
    stream, _ = begin(site, worker, speaker)
    worker.process.send_signal(signal.SIGQUIT)
    assert told(site, stream)["reason"] == "producer-disconnected"
    worker.stop()
