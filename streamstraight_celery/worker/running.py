"""The task that runs, for its own code: as `self` in every thread, and by `current_stream()`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from celery.utils.threads import LocalStack

from ..producing.sending import running
from .telemetry import RunningTask


def running_task() -> RunningTask | None:
    """The stream task in whose context this runs."""
    task: RunningTask | None = running.get()
    return task


@contextlib.contextmanager
def runs(task: RunningTask) -> Iterator[None]:
    """What is called in this block, and what it starts with its context, runs in that task."""
    token = running.set(task)
    try:
        yield
    finally:
        running.reset(token)


def bound_to_request(task: RunningTask) -> RunningTask:
    """The task as it runs now: with this request also in other threads, and on the event loop.

    Celery keeps requests by thread, and one object stands for all runs of a task. What is set on
    this one is set on that object too.
    """
    view = object.__new__(type(task))
    view.__dict__.update(task.__dict__, request_stack=_Requests(task.request), _stream_runs=task)
    found: RunningTask = view
    return found


class _Requests:
    """Stands in for a task's request stack."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._stack = LocalStack()
        # The task may run itself, eagerly.
        self.push, self.pop = self._stack.push, self._stack.pop

    @property
    def top(self) -> Any:
        return self._stack.top or self._request
