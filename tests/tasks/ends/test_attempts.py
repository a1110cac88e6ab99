"""A task that is delivered again: one writer at a time, and readers who know where they are."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from streamstraight_celery import StreamHandle, stream_task
from streamstraight_celery.errors import ConfigurationError, EncodeError
from streamstraight_celery.offsets import Verdict, judge
from streamstraight_celery.relays.requests import Recall
from tests.tasks.apps import ending, failing, listening, resuming
from tests.tasks.apps.marks import marks
from tests.tasks.ends.conftest import Site
from tests.tasks.log import ended_log, relay_of, state_of, wait_for_chunks
from tests.tasks.processes import PATIENCE, Worker, wait_until
from tests.tasks.speaker import Speaker

SOON = 20.0
LEASE = 2.0


@pytest.fixture(autouse=True)
def current(app: Any) -> None:
    """Marks are left in the current app's backend."""


def begin(site: Site, worker: Worker, speaker: Speaker, task: Any, *args: Any) -> StreamHandle:
    stream = site.stream(task, speaker.port, *args, queue=worker.queue)
    speaker.answer()
    return stream


# -- one writer


def test_readers_of_the_attempt_before_are_told_once(
    site: Site, worker: Worker, speaker: Speaker
) -> None:
    stream = begin(site, worker, speaker, ending.requeued)
    speaker.say("one")
    first = wait_for_chunks(site.app, stream.id, 2)
    os.kill(first.chunks[0], signal.SIGKILL)
    speaker.answer()
    speaker.say("two")
    second = wait_for_chunks(site.app, stream.id, 2)
    speaker.hang_up()

    log = ended_log(site.app, stream.id, SOON)

    segments = log.state.segments
    assert judge(first.state.offset(), segments, True) is Verdict.SUPERSEDED
    assert judge(second.state.offset(), segments, True) is Verdict.VALID
    assert log.state.attempt == 2


def test_autoretry_begins_a_new_attempt(site: Site, worker: Worker) -> None:
    stream = site.stream(failing.flaky_by_the_second, queue=worker.queue)

    log = ended_log(site.app, stream.id, SOON)

    assert log.chunks == ["1 one"]
    assert (log.end, log.state.attempt) == ("completed", 2)


def test_a_second_delivery_neither_runs_nor_is_lost(
    site: Site, speaker: Speaker, mark: str
) -> None:
    worker = site.worker("twice", {"stream_lease": LEASE})
    stream = site.stream(
        listening.late, speaker.port, mark, queue=worker.queue, task_id=f"twice-{mark}"
    )
    speaker.answer()
    site.app.tasks[listening.late.name].apply_async(
        (speaker.port, mark), queue=worker.queue, task_id=f"twice-{mark}"
    )
    # It comes back every time that the lease would have been over, and uses up no retry.
    wait_until(lambda: worker.log.count(f"[twice-{mark}] received") >= 3, "it comes again")
    assert marks(f"{mark}:begun") == [""]
    assert state_of(site.app, stream.id).attempt == 1
    holder = worker.active(site.app, stream.task_id)["worker_pid"]

    os.kill(holder, signal.SIGKILL)

    speaker.answer()
    speaker.say("taken over")
    speaker.hang_up()
    log = ended_log(site.app, stream.id, SOON)
    assert (log.end, log.state.attempt) == ("completed", 2)
    assert log.chunks == ["attempt 2", "taken over"]


def test_a_frozen_worker_that_wakes_up_is_refused(site: Site, speaker: Speaker, mark: str) -> None:
    """Also what a clock that jumps comes to: the broker gives the message out a second time."""
    changes = {"stream_lease": LEASE}
    worker, other = site.worker("frozen", changes), site.worker("other", changes)
    stream = site.stream(
        ending.killable, speaker.port, queue=worker.queue, task_id=f"frozen-{mark}"
    )
    speaker.answer()
    speaker.say("one")
    first = wait_for_chunks(site.app, stream.id, 2)
    zombie = speaker.hand_over()
    os.kill(first.chunks[0], signal.SIGSTOP)
    try:
        site.app.tasks[ending.killable.name].apply_async(
            (speaker.port,), queue=other.queue, task_id=f"frozen-{mark}"
        )
        speaker.answer()
        speaker.say("two")
        second = wait_for_chunks(site.app, stream.id, 2)
        zombie.sendall(b"too late\n")
    finally:
        os.kill(first.chunks[0], signal.SIGCONT)
    # It is told so, and lets go of its connection.
    assert speaker.hears_hang_up(zombie)
    speaker.hang_up()

    log = ended_log(site.app, stream.id, SOON)

    assert log.chunks == [*second.chunks]
    assert log.chunks[1:] == ["two"]
    assert (log.end, log.state.attempt) == ("completed", 2)
    wait_until(lambda: "StreamFencedError" in worker.log, "the other one has failed")


# -- on_redelivery


@pytest.mark.parametrize("task", [resuming.counting, resuming.counting_asynchronously])
def test_a_resumed_attempt_goes_on_behind_what_readers_have(
    site: Site, worker: Worker, speaker: Speaker, task: Any
) -> None:
    stream = begin(site, worker, speaker, task)
    speaker.say("one", "save", "two")
    first = wait_for_chunks(site.app, stream.id, 4)
    # It follows the chunks that it covers, in a request of its own.
    relay = relay_of(site.app)
    wait_until(lambda: relay.call(Recall(stream.id)).reason, "the checkpoint is kept")
    os.kill(first.chunks[0][4], signal.SIGKILL)

    speaker.answer()
    speaker.say("three")
    speaker.hang_up()

    log = ended_log(site.app, stream.id, SOON)
    # The checkpoint was made behind two chunks; two more came after it.
    assert first.chunks[0][:4] == [1, 0, None, 0]
    assert log.chunks[:4] == first.chunks
    assert log.chunks[4][:4] == [2, 4, {"attempt": 1}, 2]
    assert log.chunks[5:] == ["three"]
    assert judge(first.state.offset(), log.state.segments, True) is Verdict.VALID


def test_a_retry_is_resumed_too(site: Site, worker: Worker) -> None:
    stream = site.stream(resuming.retried_and_resumed, queue=worker.queue)

    log = ended_log(site.app, stream.id, SOON)

    assert (log.chunks, log.state.attempt) == ([0, 1, 2, "end"], 2)


def test_a_task_that_must_not_run_twice_fails(
    site: Site, worker: Worker, speaker: Speaker, mark: str
) -> None:
    stream = begin(site, worker, speaker, resuming.once, mark)
    speaker.say("one")
    first = wait_for_chunks(site.app, stream.id, 2)

    os.kill(first.chunks[0], signal.SIGKILL)

    log = ended_log(site.app, stream.id, SOON)
    assert (log.end, log.chunks) == ("producer-disconnected", first.chunks)
    assert judge(first.state.offset(), log.state.segments, True) is Verdict.VALID
    assert marks(mark) == [""]
    wait_until(lambda: stream.result.state == "FAILURE", "the task has failed")


def test_a_task_that_must_not_run_twice_may_be_retried(site: Site, worker: Worker) -> None:
    stream = site.stream(resuming.once_but_retried, queue=worker.queue)

    log = ended_log(site.app, stream.id, SOON)

    assert (log.end, log.chunks, log.state.attempt) == ("completed", [1], 2)


def test_a_checkpoint_that_json_cannot_say_fails_the_task(site: Site, worker: Worker) -> None:
    stream = site.stream(resuming.wrong_checkpoint, queue=worker.queue)

    log = ended_log(site.app, stream.id, SOON)

    assert (log.end, log.error["code"]) == ("producer-error", "encode-error")
    with pytest.raises(EncodeError, match="JSON"):
        stream.result.get(timeout=PATIENCE)


def test_a_wrong_option_is_an_error_where_it_is_written() -> None:
    with pytest.raises(ConfigurationError, match=r"'restart'.*'fail'.*'resume'"):
        stream_task(on_redelivery="again")  # type: ignore[call-overload]
