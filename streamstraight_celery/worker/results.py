"""A task's result, checked while the stream is still open.

Celery stores it after readers were told how the stream ended: one that it cannot store would be a
stream that is `completed` and a task that failed.
"""

from __future__ import annotations

from typing import Any

from ..codecs import plain
from ..errors import EncodeError
from .telemetry import RunningTask


def storable(task: RunningTask, value: Any) -> Any:
    """Return the result as Celery's result backend can store it: models and dataclasses as data.

    Raises:
        EncodeError: the result is not data; the message names the path to what is not.
    """
    request = task.request
    if value is None or not (_is_stored(task) or request.chain or request.callbacks):
        return value
    backend = task.backend
    try:
        backend.encode(backend.prepare_value(value))
    except Exception as error:
        try:
            return plain(value, path="result")
        except EncodeError as found:
            raise EncodeError(f"the task's result cannot be stored: {found}") from error
    return value


def _is_stored(task: RunningTask) -> bool:
    ignored = task.request.ignore_result
    return not (task.ignore_result if ignored is None else ignored)
