"""Stream tasks whose process is killed. The first chunk is the id of the process that runs them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

from celery.exceptions import Reject

from streamstraight_celery import StreamTask, stream_task
from tests.tasks.apps.listening import lines_from, lines_from_asynchronously
from tests.tasks.apps.marks import leave_mark


@stream_task
def killable(port: int) -> Iterator[Any]:
    yield os.getpid()
    yield from lines_from(port)


@stream_task
async def killable_asynchronously(port: int) -> AsyncIterator[Any]:
    yield os.getpid()
    async for line in lines_from_asynchronously(port):
        yield line


@stream_task(acks_late=True)
def killable_late(port: int) -> Iterator[Any]:
    """Acknowledged late, and given up when its process is lost: Celery's default."""
    yield os.getpid()
    yield from lines_from(port)


@stream_task(acks_late=True, reject_on_worker_lost=True)
def requeued(port: int) -> Iterator[Any]:
    yield os.getpid()
    yield from lines_from(port)


# Whole seconds: on quorum queues Celery cannot delay a message by less.
@stream_task(retry_on_worker_lost=True, default_retry_delay=1, max_retries=1)
def retried(port: int) -> Iterator[Any]:
    yield os.getpid()
    yield from lines_from(port)


@stream_task(time_limit=1)
def limited_hard(port: int) -> Iterator[Any]:
    yield os.getpid()
    yield from lines_from(port)


@stream_task(time_limit=1, acks_late=True, acks_on_failure_or_timeout=False)
def limited_hard_and_requeued(port: int, mark: str) -> Iterator[Any]:
    number = leave_mark(mark)
    yield number
    if number == 1:
        yield from lines_from(port)


class Unprepared(StreamTask):
    """Fails before its generator begins."""

    abstract = True

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        raise LookupError("nothing is prepared")


@stream_task(base=Unprepared)
def unprepared() -> Iterator[str]:
    yield "never"


@stream_task(acks_late=True)
def rejected() -> Iterator[str]:
    yield "beginning"
    raise Reject("no", requeue=False)


@stream_task(acks_late=True)
def rejected_and_requeued(mark: str) -> Iterator[str]:
    number = leave_mark(mark)
    yield f"attempt {number}"
    if number == 1:
        raise Reject("not yet", requeue=True)
