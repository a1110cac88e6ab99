"""Streams in Flower, a real one: found by their ids, without prompts, terminated."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery import read_stream
from tests.tasks.apps import forms, listening
from tests.tasks.apps.project import CONF_VARIABLE
from tests.tasks.flower import Flower
from tests.tasks.processes import Worker, wait_until
from tests.tasks.speaker import Speaker

QUEUE = "flowered"
PROMPT = "a prompt that is nobody's business"
# Which of them depends on how far the task came to know of it.
ENDS = {"stopped", "producer-disconnected", "producer-error"}


@pytest.fixture(scope="module")
def worker(start_worker: Callable[..., Worker]) -> Worker:
    return start_worker(QUEUE, options=("-E",))


@pytest.fixture(scope="module")
def flower(
    worker: Worker, conf: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flower]:
    environment = {CONF_VARIABLE: json.dumps(conf)}
    flower = Flower("tests.tasks.apps.project", tmp_path_factory.mktemp("flower"), environment)
    wait_until(lambda: worker.hostname in flower.http.get("/api/workers").json(), "the worker")
    yield flower
    flower.close()


def test_a_stream_is_listed_with_its_summary_and_without_its_prompt(
    app: Celery, flower: Flower
) -> None:
    handle = forms.bare.apply_stream((PROMPT,), queue=QUEUE)
    assert list(read_stream(handle.id, app=app))
    shown = flower.wait_state(handle.result.id, "SUCCESS")
    assert shown["name"] == forms.bare.name
    assert handle.id in shown["kwargs"]
    result = shown["result"]
    assert result.startswith("{'end_reason': 'completed', 'chunks': ")
    assert "first_chunk" in result
    page = flower.http.get(f"/task/{handle.result.id}").raise_for_status().text
    assert handle.id in page
    for text in (json.dumps(shown), page, flower.http.get("/api/tasks").text):
        assert PROMPT not in text


def test_a_stream_is_found_by_its_id(app: Celery, flower: Flower) -> None:
    wanted = forms.bare.apply_stream(("x",), queue=QUEUE, stream_id="chat-42.answer-7")
    other = forms.bare.apply_stream(("x",), queue=QUEUE)
    for handle in (wanted, other):
        flower.wait_state(handle.result.id, "SUCCESS")
    assert flower.search("chat-42.answer-7") == [wanted.result.id]
    assert flower.search("kwargs:chat-42.answer-7") == [wanted.result.id]
    assert {wanted.result.id, other.result.id} <= set(flower.search(""))


def test_terminate_ends_a_running_stream(app: Celery, flower: Flower, speaker: Speaker) -> None:
    handle = listening.listening.apply_stream((speaker.port,), queue=QUEUE)
    speaker.answer()
    speaker.say("a", "b")
    with read_stream(handle.id, app=app, raise_on_failure=False) as stream:
        assert [next(stream), next(stream)] == ["a", "b"]
        flower.wait_state(handle.result.id, "STARTED")
        page = flower.http.get(f"/task/{handle.result.id}").raise_for_status().text
        assert "task-terminate" in page

        flower.terminate(handle.result.id)

        assert speaker.hears_hang_up()
        assert list(stream) == []
    assert stream.end_reason in ENDS
    assert flower.wait_state(handle.result.id, "REVOKED")
