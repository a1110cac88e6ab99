"""The errors of a producer, as they get from a worker to who asks for a task's result."""

from __future__ import annotations

import json
import pickle

import pytest
from celery import Celery

from streamstraight_celery import errors
from streamstraight_celery.errors import (
    AgentFailedError,
    DecodeError,
    InputTimeoutError,
    MissingDependencyError,
    PublicError,
    StreamActiveError,
    StreamBusyError,
    StreamClosedError,
    StreamError,
    StreamFailedError,
    StreamGoneError,
    StreamReadError,
    StreamResetError,
    TokenError,
)
from streamstraight_celery.producing.failures import describe_error

# Of those that are made of more than a message; tasks read streams, too.
ERRORS: list[StreamError] = [
    MissingDependencyError("httpx", "reader"),
    InputTimeoutError("chat", 1.5),
    StreamActiveError("chat", "s"),
    StreamBusyError("s", 1.5),
    StreamClosedError("s", "producer-disconnected"),
    StreamReadError("bad-response", "stream 's': the relay answered 418", status=418),
    StreamGoneError("gone", "stream 's': it is lost", status=410),
    StreamFailedError(
        "s", "producer-error", "time-limit", "The answer took too long. Please try again."
    ),
    StreamResetError("s", 2),
    DecodeError("s", 3, "int", "'x' is no number"),
    TokenError("expired-token", "the token has expired"),
]
CLASSES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, StreamError)
]
ERRORS += [
    kind("stream 's': so it is")
    for kind in CLASSES
    if kind not in [type(error) for error in ERRORS]
]


class Quota(PublicError):
    """As users write them."""

    code = "quota"


class Spent(PublicError):
    """With a constructor of its own, which a result backend gives the message."""

    def __init__(self, what: str) -> None:
        super().__init__(what, code="spent")


ERRORS += [
    PublicError("Quota used up", code="quota"),
    AgentFailedError("The model is busy", code="busy"),
    Quota("Quota used up"),
    Quota("Quota used up", code="daily"),
    Spent("Nothing is left"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_stays_what_it_is(error: StreamError) -> None:
    backend = Celery(backend="cache+memory://", set_as_current=False).backend
    stored = backend.prepare_exception(error, "json")
    for again in (pickle.loads(pickle.dumps(error)), backend.exception_to_python(stored)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PublicError("so it is"), "producer-error"),
        (PublicError("so it is", code="quota"), "quota"),
        (AgentFailedError("so it is"), "agent-failed"),
        (AgentFailedError("so it is", code="busy"), "busy"),
        (Quota("so it is"), "quota"),
        (Quota("so it is", code="daily"), "daily"),
        (Spent("so it is"), "spent"),
    ],
)
def test_readers_are_told_the_code_and_the_message(error: PublicError, code: str) -> None:
    assert json.loads(describe_error(error)[1]) == {"code": code, "message": "so it is"}
