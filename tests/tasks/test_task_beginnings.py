"""What fails between the claim of a stream and its generator's first step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery import RelayUnavailableError, StreamTask
from streamstraight_celery.relays.base import Page, Relay, RelayOptions
from streamstraight_celery.relays.memory.relay import MemoryRelay
from streamstraight_celery.relays.memory.store import MemoryStore
from streamstraight_celery.relays.requests import Answer, Read, Recall, Request
from streamstraight_celery.runtime import Runtime
from streamstraight_celery.settings import read_settings
from tests.tasks.log import ended_log


class Forgetful(Relay):
    """Does not answer when it is asked for a checkpoint, so many times."""

    def __init__(self, silences: int) -> None:
        self.silences = silences
        self._inner = MemoryRelay(MemoryStore(RelayOptions()))

    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        if self.silences and any(isinstance(request, Recall) for request in requests):
            self.silences -= 1
            raise RelayUnavailableError("no answer")
        return self._inner.execute(requests)

    def read(self, read: Read) -> Page | None:
        return self._inner.read(read)


@pytest.fixture
def begin_again(another_app: Callable[..., Celery]) -> Callable[[int], Celery]:
    """Makes an app whose task's second attempt has to ask for a checkpoint, in vain so often."""

    def make(silences: int) -> Celery:
        app = another_app(task_always_eager=True, stream_relay_timeout=0.3)
        Runtime.install(app, Runtime(read_settings(app), Forgetful(silences)))

        @app.task(
            name="counts", shared=False, base=StreamTask, bind=True, on_redelivery="resume",
            autoretry_for=(LookupError,), default_retry_delay=0,
        )  # fmt: skip
        def counts(self: StreamTask[Any]) -> Iterator[int]:
            yield self.stream.sent
            if not self.request.retries:
                raise LookupError

        return app

    return make


def test_a_checkpoint_is_asked_for_as_patiently_as_all_else(
    begin_again: Callable[[int], Celery],
) -> None:
    app = begin_again(2)
    stream = app.tasks["counts"].stream()
    assert ended_log(app, stream.id).chunks == [0, 1]


def test_an_attempt_that_fails_before_its_generator_begins_ends_its_stream(
    begin_again: Callable[[int], Celery],
) -> None:
    app = begin_again(10_000)
    stream = app.tasks["counts"].stream()
    assert isinstance(stream.result.result, RelayUnavailableError)
    assert ended_log(app, stream.id, timeout=5).end == "producer-error"
