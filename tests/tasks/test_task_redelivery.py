"""A message that is delivered twice: the task neither runs twice at once nor is it lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from celery import Celery

from streamstraight_celery.offsets import Verdict, judge, new_nonce
from streamstraight_celery.relays.requests import Claim
from tests.tasks.apps import forms, listening
from tests.tasks.apps.marks import marks
from tests.tasks.log import ended_log, relay_of, state_of, wait_for_chunks
from tests.tasks.processes import PATIENCE, Worker, wait_until
from tests.tasks.speaker import Speaker

# A broker that gives a message out again after a second: sooner than the task needs.
HASTY = {
    "broker_transport_options": {
        "visibility_timeout": 1,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    }
}


def wait_for_deliveries(worker: Worker, task_id: str, times: int) -> None:
    wait_until(
        lambda: worker.log.count(f"[{task_id}] received") >= times,
        f"the message has come {times} times",
    )


def test_a_message_that_comes_twice_runs_once(
    app: Celery, prefork: Worker, speaker: Speaker, mark: str
) -> None:
    stream = listening.late.apply_stream((speaker.port, mark), task_id=mark)
    speaker.answer()
    speaker.say("one")
    wait_for_chunks(app, stream.id, 2)

    listening.late.apply_async((speaker.port, mark), task_id=mark)
    # It comes back every time that the lease would have been over.
    wait_for_deliveries(prefork, mark, 4)
    assert marks(f"{mark}:begun") == [""]
    speaker.say("two")
    speaker.hang_up()

    log = ended_log(app, stream.id)
    assert log.chunks == ["attempt 1", "one", "two"]
    assert (log.end, log.state.attempt) == ("completed", 1)
    # The second delivery finds that all is done.
    wait_until(lambda: prefork.log.count(f"[{mark}] succeeded") == 2, "it is done with")
    assert marks(f"{mark}:begun") == [""]
    assert stream.result.get(timeout=PATIENCE)["chunks"] == 3


def test_the_second_delivery_takes_over_when_the_first_dies(
    app: Celery, prefork: Worker, speaker: Speaker, mark: str
) -> None:
    stream = listening.late.apply_stream((speaker.port, mark), task_id=mark)
    speaker.answer()
    speaker.say("lost")
    first = wait_for_chunks(app, stream.id, 2)
    holder = prefork.active(app, stream.task_id)["worker_pid"]
    listening.late.apply_async((speaker.port, mark), task_id=mark)
    wait_for_deliveries(prefork, mark, 2)

    os.kill(holder, signal.SIGKILL)

    speaker.answer()
    speaker.say("found")
    speaker.hang_up()
    log = ended_log(app, stream.id)
    assert first.chunks == ["attempt 1", "lost"]
    assert log.chunks == ["attempt 2", "found"]
    assert (log.end, log.state.attempt) == ("completed", 2)
    assert judge(first.state.offset(), log.state.segments, ended=True) is Verdict.SUPERSEDED


def test_a_worker_whose_clock_jumps_takes_nothing_over(
    app: Celery,
    start_worker: Callable[..., Worker],
    speaker: Speaker,
    mark: str,
) -> None:
    """Celery's Redis broker compares wall clocks: one that is ahead gives messages out again."""
    quick = {"unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    conf = {"broker_transport_options": quick}
    right = start_worker("right", conf)
    stream = listening.late.apply_stream((speaker.port, mark), queue=right.queue, task_id=mark)
    speaker.answer()
    speaker.say("one")
    wait_for_chunks(app, stream.id, 2)

    ahead = start_worker("ahead", conf, queue=right.queue, clock_ahead=7200)
    wait_until(
        lambda: (right.log + ahead.log).count(f"[{mark}] received") >= 2, "it is given out again"
    )
    assert state_of(app, stream.id).attempt == 1
    speaker.say("two")
    speaker.hang_up()

    log = ended_log(app, stream.id)
    assert (log.chunks, log.state.attempt) == (["attempt 1", "one", "two"], 1)
    assert marks(f"{mark}:begun") == [""]


def test_a_broker_that_redelivers_too_early_does_not_run_the_task_twice(
    app: Celery,
    start_worker: Callable[..., Worker],
    speaker: Speaker,
    mark: str,
) -> None:
    worker = start_worker("hasty", HASTY)
    stream = listening.late.apply_stream((speaker.port, mark), queue=worker.queue, task_id=mark)
    speaker.answer()
    speaker.say("one")

    wait_for_deliveries(worker, mark, 2)
    assert state_of(app, stream.id).attempt == 1
    speaker.hang_up()

    log = ended_log(app, stream.id)
    assert (log.chunks, log.state.attempt) == (["attempt 1", "one"], 1)
    assert marks(f"{mark}:begun") == [""]


def test_a_message_that_was_given_back_waits_for_the_news_of_its_holder(
    app: Celery, prefork: Worker, mark: str
) -> None:
    # The broker may be faster than the worker's parent, which tells the relay of a lost process.
    relay_of(app).call(Claim(mark, new_nonce(), mark))

    given_back = {"redelivered": True}
    forms.bare.apply_async(("at last",), task_id=mark, delivery_info=given_back)

    log = ended_log(app, mark)
    assert (log.chunks, log.state.attempt) == (["at", "last"], 2)
    # It has not gone back to the queue until the lease would have been over.
    assert prefork.log.count(f"[{mark}] received") == 1
