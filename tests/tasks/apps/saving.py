"""Stream tasks whose end is told, and the task that is told."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from celery import shared_task

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
