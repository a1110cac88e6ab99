"""Libraries that call back, with their real clients: what they send, and a stop in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from tests.frameworks.sources import need
from tests.support.providers import ReplayProvider
from tests.tasks.apps import callbacks
from tests.tasks.log import ended_log, wait_for_chunks
from tests.tasks.processes import PATIENCE, Worker

MODEL = "openai-chat-text"
TASKS = [
    callbacks.langchain,
    callbacks.langchain_asynchronously,
    callbacks.langchain_in_thread,
    callbacks.crew,
]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("worker", ["prefork", "threads", "solo", "gevent"], indirect=True),
    pytest.mark.parametrize("task", TASKS),
]


@pytest.fixture
def provider() -> Iterator[ReplayProvider]:
    need("langchain_openai")
    with ReplayProvider() as provider:
        yield provider


def test_tokens_arrive_as_the_library_calls_back(
    app: Celery, worker: Worker, provider: ReplayProvider, task: Any
) -> None:
    stream = task.apply_stream((provider.base_url, MODEL), queue=worker.queue)

    log = ended_log(app, stream.id)

    assert (log.end, log.error) == ("completed", None)
    words = [chunk for chunk in log.chunks if isinstance(chunk, str)]
    assert len(words) > 5
    steps = [chunk for chunk in log.chunks if not isinstance(chunk, str)]
    assert steps == ([{"step": "think"}, {"step": "done"}] if task is callbacks.crew else [])
    if task in (callbacks.langchain, callbacks.langchain_asynchronously):
        assert stream.result.get(timeout=PATIENCE) == "".join(words)


def test_a_stop_ends_the_request_to_the_model(
    app: Celery, worker: Worker, provider: ReplayProvider, task: Any
) -> None:
    stream = task.apply_stream((provider.base_url, f"{MODEL}?hold=6"), queue=worker.queue)
    assert provider.wait_held(PATIENCE)
    before = wait_for_chunks(app, stream.id, 3).chunks

    assert stream.stop() is True

    assert provider.wait_closed(PATIENCE)
    log = ended_log(app, stream.id)
    assert (log.chunks[: len(before)], log.end) == (before, "stopped")
    assert stream.result.get(timeout=PATIENCE)["end_reason"] == "stopped"
