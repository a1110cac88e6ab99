"""The project that the worker and the relay of these tests serve."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

from anthropic import Anthropic, AsyncAnthropic
from celery import Celery
from openai import AsyncOpenAI, OpenAI

from streamstraight_celery import stream_task

REDIS = os.environ["TEST_REDIS_URL"]
RELAY = os.environ["TEST_RELAY_URL"]
PROVIDER = os.environ["TEST_PROVIDER_URL"]

app = Celery("integration", broker=REDIS, backend=REDIS)
app.conf.update(
    broker_connection_retry_on_startup=True,
    stream_public_url=RELAY,
    stream_secret="a-secret-of-the-integration-tests",
)
app.set_default()

CLIENT = {"base_url": PROVIDER, "api_key": "none", "max_retries": 0}


def responses(model: str) -> Iterator[Any]:
    with OpenAI(**CLIENT) as client:  # type: ignore[arg-type]
        yield from client.responses.create(model=model, input="hello", stream=True)


def chat(model: str) -> Iterator[Any]:
    messages: Any = [{"role": "user", "content": "hello"}]
    with OpenAI(**CLIENT) as client:  # type: ignore[arg-type]
        yield from client.chat.completions.create(model=model, messages=messages, stream=True)


def messages(model: str) -> Iterator[Any]:
    hello: Any = [{"role": "user", "content": "hello"}]
    with Anthropic(**CLIENT) as client:  # type: ignore[arg-type]
        yield from client.messages.create(model=model, messages=hello, max_tokens=9, stream=True)


async def responses_async(model: str) -> AsyncIterator[Any]:
    async with AsyncOpenAI(**CLIENT) as client:  # type: ignore[arg-type]
        async for event in await client.responses.create(model=model, input="", stream=True):
            yield event


async def chat_async(model: str) -> AsyncIterator[Any]:
    messages: Any = [{"role": "user", "content": "hello"}]
    async with AsyncOpenAI(**CLIENT) as client:  # type: ignore[arg-type]
        async for event in await client.chat.completions.create(
            model=model, messages=messages, stream=True
        ):
            yield event


async def messages_async(model: str) -> AsyncIterator[Any]:
    hello: Any = [{"role": "user", "content": "hello"}]
    async with AsyncAnthropic(**CLIENT) as client:  # type: ignore[arg-type]
        async for event in await client.messages.create(
            model=model, messages=hello, max_tokens=9, stream=True
        ):
            yield event


GENERATORS: dict[str, Any] = {
    function.__name__: function
    for function in (responses, chat, messages, responses_async, chat_async, messages_async)
}
TASKS = {name: stream_task(name=name)(function) for name, function in GENERATORS.items()}
