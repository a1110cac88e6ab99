"""What an exception means for the stream: its end reason, its error for readers, its delay."""

from __future__ import annotations

from celery import Celery
from celery.exceptions import Retry, SoftTimeLimitExceeded

from ..due_times import seconds_until
from ..errors import ChunkTooLargeError, PublicError, StreamError, StreamTooLargeError
from ..relays.end_reasons import EndReason, error_json, error_of

TIME_LIMIT = error_json("time-limit", "The answer took too long. Please try again.")


def describe_error(error: Exception) -> tuple[EndReason, str]:
    """Return the end reason and the error for readers, JSON `{"code", "message"}`.

    Only our own errors and `PublicError` show their message; others may hold prompts or keys. A
    `PublicError` counts also within a group, and as the cause or context of another error.
    """
    if public := error_within(error, (PublicError,), context=True):
        return "producer-error", error_json(getattr(public, "code", PublicError.code), str(public))
    if limit := error_within(error, (SoftTimeLimitExceeded,), context=True):
        error = limit
    if isinstance(error, (ChunkTooLargeError, StreamTooLargeError)):
        return "too-large", error_json(error.code, "A part of the answer is too large.")
    if isinstance(error, SoftTimeLimitExceeded):
        return "producer-error", TIME_LIMIT
    if isinstance(error, StreamError):
        return "producer-error", error_json(error.code, "The answer could not be sent.")
    return "producer-error", error_of("producer-error")


def error_within(
    error: BaseException, kinds: tuple[type[BaseException], ...], *, context: bool = False
) -> Exception | None:
    """Find an error of these classes: the error itself, one of its group, or its cause.

    Args:
        error: where to look.
        kinds: the classes.
        context: look also at the error that was handled when this one was raised.
    """
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, Exception) and isinstance(each, kinds):
            return each
        # Before Python 3.11 groups are a backport's.
        inner = getattr(each, "exceptions", ())
        waiting += inner if isinstance(inner, tuple) else ()
        waiting.append(each.__cause__)
        if context and not each.__suppress_context__:
            waiting.append(each.__context__)
    return None


def retry_delay(retry: Retry, app: Celery) -> float:
    """Seconds until a retry is due."""
    return seconds_until(retry.when or 0, app)
