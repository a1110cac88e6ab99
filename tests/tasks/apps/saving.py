"""Stream tasks whose end is told, and the task that is told."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

from celery import shared_task
from celery.signals import after_task_publish, before_task_publish

from streamstraight_celery import read_stream, stream_task
from tests.tasks.apps.listening import lines_from
from tests.tasks.apps.marks import leave_mark


@shared_task
def save(end: dict[str, Any]) -> None:
    """Leave the end and what readers got, under the stream's name."""
    reader = read_stream(end["stream_id"], raise_on_failure=False)
    chunks = list(reader)
    leave_mark(f"saved-{end['stream_id']}", json.dumps({**end, "read": chunks}))


@stream_task(on_end=save)
def saved(port: int) -> Iterator[Any]:
    yield os.getpid()
    yield from lines_from(port)


@stream_task(on_end="tests.tasks.apps.saving.save", time_limit=1)
def saved_within_a_second(port: int) -> Iterator[Any]:
    yield os.getpid()
    yield from lines_from(port)


@stream_task(on_end=save, autoretry_for=(OSError,), max_retries=1, default_retry_delay=0)
def saved_of_two_attempts(mark: str, failures: int) -> Iterator[Any]:
    number = leave_mark(mark)
    yield f"attempt {number}"
    if number <= failures:
        raise OSError("the model is away")


@stream_task(on_end=save, acks_late=True, reject_on_worker_lost=True)
def saved_when_it_comes_again(port: int) -> Iterator[Any]:
    yield os.getpid()
    yield from lines_from(port)


CONF_VARIABLE = "STREAM_TESTS_CONF"  # as in project.py, which imports this module


# -- whoever tells an end is killed: once, before or after the task that is told is enqueued


def _die(moment: str, body: Any) -> None:
    stream_id = str(body[0][0]["stream_id"])
    here = CONF_VARIABLE in os.environ  # and not in the process of the tests
    if here and stream_id.startswith(moment) and leave_mark(f"died-{stream_id}", os.getpid()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)


@before_task_publish.connect(sender="tests.tasks.apps.saving.save")
def die_before(body: Any, **_: Any) -> None:
    """Between the end and the enqueueing."""
    _die("before", body)


@after_task_publish.connect(sender="tests.tasks.apps.saving.save")
def die_after(body: Any, **_: Any) -> None:
    """Between the enqueueing and the note."""
    _die("after", body)
