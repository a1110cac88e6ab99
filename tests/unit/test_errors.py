"""The errors of a producer, as they get from a worker to who asks for a task's result."""

from __future__ import annotations

import pickle

import pytest
from celery import Celery

from streamstraight_celery.errors import (
    PublicError,
    StreamActiveError,
    StreamBusyError,
    StreamClosedError,
    StreamError,
    StreamFencedError,
)

ERRORS = [
    StreamActiveError("chat", "s"),
    StreamBusyError("s", 1.5),
    StreamClosedError("s", "producer-disconnected"),
    StreamFencedError("stream 's': attempt 2 has taken over"),
    PublicError("too long"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_stays_what_it_is(error: StreamError) -> None:
    backend = Celery(backend="cache+memory://", set_as_current=False).backend
    stored = backend.prepare_exception(error, "json")
    for again in (pickle.loads(pickle.dumps(error)), backend.exception_to_python(stored)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)
