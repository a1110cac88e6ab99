"""How long it is until a moment as Celery's options name it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from celery import Celery
from celery.utils.time import maybe_iso8601


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
