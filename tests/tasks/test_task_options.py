"""Celery's options, on stream tasks in a real worker."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import (
    SoftTimeLimitExceeded,
    TaskRevokedError,
)

from tests.tasks.apps import forms, listening
from tests.tasks.apps.marks import marks
from tests.tasks.log import ended_log, state_of
from tests.tasks.processes import PATIENCE, ROOT, Worker, wait_until
from tests.tasks.speaker import Speaker

pytestmark = pytest.mark.usefixtures("prefork")

TIME_LIMIT_ERROR = {"code": "time-limit", "message": "The answer took too long. Please try again."}


def test_an_ignored_result_is_not_stored(app: Celery) -> None:
    stream = forms.unrecorded.stream("one two")

    assert ended_log(app, stream.id).chunks == ["one", "two"]
    assert app.backend.get(app.backend.get_key_for_task(stream.task_id)) is None


def test_a_result_may_be_ignored_for_one_call(app: Celery) -> None:
    stream = forms.bare.apply_stream(("one two",), ignore_result=True)

    assert ended_log(app, stream.id).chunks == ["one", "two"]
    assert app.backend.get(app.backend.get_key_for_task(stream.task_id)) is None


def test_a_countdown_is_kept(app: Celery, mark: str) -> None:
    before = time.monotonic()
    stream = forms.starting.apply_stream((mark,), countdown=1)

    assert state_of(app, stream.id).attempt == 0
    log = ended_log(app, stream.id)

    assert time.monotonic() - before >= 0.9
    assert (log.chunks, log.end) == (["1"], "completed")


def test_an_expired_task_never_starts(app: Celery, prefork: Worker, mark: str) -> None:
    queue = f"closed-{mark}"
    stream = forms.starting.apply_stream((mark,), queue=queue, expires=0.1)
    expired_at = time.monotonic() + 0.2
    wait_until(lambda: time.monotonic() > expired_at, "the task has expired")

    app.control.add_consumer(queue, destination=[prefork.hostname], reply=True)

    with pytest.raises(TaskRevokedError):
        stream.result.get(timeout=PATIENCE)
    app.control.cancel_consumer(queue, destination=[prefork.hostname], reply=True)
    assert marks(mark) == []
    assert state_of(app, stream.id).attempt == 0


def test_a_rate_limit_is_kept(app: Celery, mark: str) -> None:
    for _ in range(3):
        last = forms.limited.stream(mark)

    wait_until(lambda: len(marks(mark)) == 3, "all have run")
    first, _, third = sorted(map(float, marks(mark)))
    assert third - first >= 0.9
    assert ended_log(app, last.id).end == "completed"


def test_a_task_that_acknowledges_late_streams_once(
    app: Celery, speaker: Speaker, mark: str
) -> None:
    stream = listening.late.stream(speaker.port, mark)
    speaker.answer()
    speaker.say("one")
    speaker.hang_up()

    assert ended_log(app, stream.id).chunks == ["attempt 1", "one"]
    assert stream.result.get(timeout=PATIENCE)["end_reason"] == "completed"


# -- time limits


@pytest.mark.parametrize("task", [listening.hasty, listening.hasty_asynchronously])
def test_a_soft_time_limit_ends_a_generator_that_waits(
    app: Celery, speaker: Speaker, mark: str, task: Any
) -> None:
    stream = task.stream(speaker.port, mark)
    speaker.answer()

    log = ended_log(app, stream.id)

    assert (log.chunks, log.end, log.error) == (["beginning"], "producer-error", TIME_LIMIT_ERROR)
    assert speaker.hears_hang_up()
    assert marks(f"{mark}:finally") == [""]
    with pytest.raises(SoftTimeLimitExceeded):
        stream.result.get(timeout=PATIENCE)


def test_a_soft_time_limit_in_the_encoder_is_no_encoding_error(
    app: Celery, speaker: Speaker
) -> None:
    stream = listening.hasty_encoder.stream(speaker.port)
    speaker.answer()

    log = ended_log(app, stream.id)

    assert (log.end, log.error) == ("producer-error", TIME_LIMIT_ERROR)


def test_a_soft_time_limit_leaves_the_process_to_the_next_task(
    app: Celery, prefork: Worker, speaker: Speaker
) -> None:
    before = prefork.pool_processes()
    stream = listening.hasty.stream(speaker.port)
    speaker.answer()
    ended_log(app, stream.id)

    streams = [forms.bare.stream("x") for _ in range(4)]

    assert [ended_log(app, stream.id).chunks for stream in streams] == [["x"]] * 4
    assert prefork.pool_processes() == before


# -- Django


DJANGO = """
import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
)
django.setup()

from celery import Celery
from django.db import transaction
from streamstraight_celery import stream_task
from streamstraight_celery.relays.requests import (Read)
from streamstraight_celery.runtime import Runtime

app = Celery(broker="memory://", task_always_eager=True, stream_relay_url="memory://django")

@stream_task
def answer(text: str):
    yield from text.split()

relay = Runtime.of(app).relay
started = []

@stream_task(bind=True)
def noted(self, text: str):
    started.append(self.stream_id)
    yield text

with transaction.atomic():
    noted.delay_on_commit("one")
    noted.apply_async_on_commit(("two",), headers={"stream_id": "named"})
    assert not started, started
assert len(started) == 2, started
assert started[1] == "named"
assert relay.read(Read("named")).state.end == "completed"

try:
    with transaction.atomic():
        noted.delay_on_commit("three")
        raise KeyError
except KeyError:
    pass
assert len(started) == 2, started
print("all is well")
"""


def test_django_s_tasks_can_wait_for_the_commit() -> None:
    pytest.importorskip("django")

    done = subprocess.run(
        [sys.executable, "-c", DJANGO], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )

    assert done.stdout == "all is well\n", done.stderr
