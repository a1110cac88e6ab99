"""What an exception means for the stream: its end reason, and what readers are told."""

from __future__ import annotations

import json

from celery import Celery
from celery.exceptions import Retry, SoftTimeLimitExceeded

from ..errors import ChunkTooLargeError, PublicError, StreamError, StreamTooLargeError
from ..relays.requests import EndReason
from .times import seconds_until


def describe_error(error: Exception) -> tuple[EndReason, str]:
    """Return the end reason and the error for readers, JSON `{"code", "message"}`.

    Only our own errors and `PublicError` show their message; others may hold prompts or keys.
    """
    if isinstance(error, (ChunkTooLargeError, StreamTooLargeError)):
        return "too-large", error_json(error.code, "A part of the answer is too large.")
    if isinstance(error, PublicError):
        return "producer-error", error_json(error.code, str(error))
    if isinstance(error, SoftTimeLimitExceeded):
        return "producer-error", error_json("time-limit", "The task ran into its time limit.")
    if isinstance(error, StreamError):
        return "producer-error", error_json(error.code, "The answer could not be sent.")
    return "producer-error", error_json("producer-error", "The task failed.")


def error_json(code: str, message: str) -> str:
    """An error as readers get it."""
    return json.dumps({"code": code, "message": message}, separators=(",", ":"))


def retry_delay(retry: Retry, app: Celery) -> float:
    """Seconds until a retry is due."""
    return seconds_until(retry.when or 0, app)
