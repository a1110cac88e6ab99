"""When a task is due, and until when it may begin, from the options of its message."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Protocol

from celery import Celery
from celery.utils.time import maybe_iso8601


class Expiring(Protocol):
    """What of a task its time to begin takes."""

    @property
    def app(self) -> Any: ...
    @property
    def expires(self) -> Any: ...


def wait_of(task: Expiring, options: Mapping[str, Any], ttl: float) -> int:
    """Milliseconds in which a task that is enqueued now may begin: until it expires, or `ttl`.

    Args:
        task: the task.
        options: of `apply_async`: `expires`, `countdown`, `eta`.
        ttl: how long a stream is kept, seconds.
    """
    expires = options.get("expires", task.expires)
    if expires is not None:
        seconds = seconds_until(expires, task.app)
    else:
        due = options.get("countdown") or options.get("eta")
        seconds = ttl + (seconds_until(due, task.app) if due else 0.0)
    # One that has expired already expires at once, which 0 would not mean.
    return max(1, math.ceil(seconds * 1000))


def seconds_until(when: Any, app: Celery) -> float:
    """Seconds from now, at least 0.

    Args:
        when: seconds; or a moment, as a `datetime` or (a message has it so, and a retry takes it
            from there) as its ISO 8601 text. One without a time zone is in the app's.
        app: the Celery app.

    Raises:
        ValueError: a text that is no moment.
    """
    if isinstance(when, str):
        when = maybe_iso8601(when)
    if not isinstance(when, datetime):
        return max(0.0, float(when))
    if when.tzinfo is None:
        when = when.replace(tzinfo=app.timezone)
    left: float = (when - datetime.now(timezone.utc)).total_seconds()
    return max(0.0, left)
