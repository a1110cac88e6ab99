"""The project that the worker and the relay of these tests serve."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import redis
from celery import Celery
from openai import OpenAI

from streamstraight_celery import PublicError, StreamTask

CONF_VARIABLE = "PEERS_CONF"

app = Celery("peers", set_as_current=False)
app.conf.update(json.loads(os.environ.get(CONF_VARIABLE, "{}")))
app.conf.include = ["tests.tasks.apps.agents"]


def dictated_to(task: Any, channel: str) -> Iterator[Any]:
    with redis.Redis.from_url(task.app.conf.broker_url, socket_timeout=None) as connection:
        while True:
            said = connection.blpop([channel], timeout=120)
            assert said is not None, "nobody says anything any more"
            word, value = json.loads(said[1])
            if word == "chunk":
                yield value
            elif word == "fail":
                raise PublicError(value, code="as-told")
            elif word == "retry":
                raise task.retry(countdown=0)
            else:
                return


@app.task(base=StreamTask, bind=True, name="peers.dictated", max_retries=1)
def dictated(self: Any, channel: str) -> Iterator[Any]:
    """Yields what a `Dictation` says, when it says so."""
    yield from dictated_to(self, channel)


@app.task(base=StreamTask, bind=True, name="peers.dictated_run", codec="ag-ui", max_retries=1)
def dictated_run(self: Any, channel: str) -> Iterator[Any]:
    """The same, where that is the events of an AG-UI run."""
    yield from dictated_to(self, channel)


def data_of(event: str) -> str:
    data = event.removeprefix("data: ").strip()
    return "" if data == "[DONE]" else data


@app.task(base=StreamTask, name="peers.ready_events", encoder=data_of)
def ready_events(events: list[str]) -> Iterator[str]:
    """Yields events for SSE that a library has made ready."""
    yield from events


@app.task(base=StreamTask, name="peers.responses")
def responses(base_url: str, model: str) -> Iterator[Any]:
    with OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        yield from client.responses.create(model=model, input="hello", stream=True)


@app.task(base=StreamTask, name="peers.chat")
def chat(base_url: str, model: str) -> Iterator[Any]:
    messages: Any = [{"role": "user", "content": "hello"}]
    with OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        yield from client.chat.completions.create(model=model, messages=messages, stream=True)
