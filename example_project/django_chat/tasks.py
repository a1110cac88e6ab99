"""The task that asks the model, with the async openai client."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from functools import cache

from openai import APIError, AsyncOpenAI
from openai.types.responses import ResponseInputParam, ResponseStreamEvent

from streamstraight_celery import PublicError, stream_task

MODEL = os.environ.get("OPENAI_MODEL", "gpt-5-mini")


@cache
def client() -> AsyncOpenAI:
    """One for each worker process: it keeps its connections."""
    return AsyncOpenAI()


# If the process that runs it is killed, another one restarts the answer.
@stream_task(soft_time_limit=300, acks_late=True, reject_on_worker_lost=True)
async def answer(prompt: str, history: ResponseInputParam) -> AsyncIterator[ResponseStreamEvent]:
    messages: ResponseInputParam = [*history, {"role": "user", "content": prompt}]
    try:
        # `async with`: the connection to the model is closed when the visitor stops the answer.
        asked = client().responses.create(model=MODEL, input=messages, stream=True)
        async with await asked as events:
            async for event in events:
                yield event
    except APIError as error:
        # Readers see this message; what the model's server said is in the worker's log.
        raise PublicError("The model could not answer. Try again in a moment.") from error
