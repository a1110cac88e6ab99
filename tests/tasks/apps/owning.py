"""Stream tasks that come too late for their stream."""

from __future__ import annotations

from collections.abc import Iterator

from streamstraight_celery import stream_task
from tests.tasks.apps.marks import leave_mark


@stream_task
def counted(text: str, mark: str) -> Iterator[str]:
    leave_mark(mark)
    yield from text.split()


@stream_task(acks_late=True, on_lost="run")
def runs_after_loss(text: str, mark: str) -> Iterator[str]:
    leave_mark(mark)
    yield from text.split()
