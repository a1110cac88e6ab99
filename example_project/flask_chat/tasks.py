"""The task that asks the model, with the openai client."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import Literal

from openai import APIError, OpenAI
from openai.types.responses import ResponseInputParam, ResponseStreamEvent
from pydantic import BaseModel, Field

from streamstraight_celery import PublicError, stream_task

MODEL = os.environ.get("OPENAI_MODEL", "gpt-5-mini")


class Turn(BaseModel):
    role: Literal["user", "assistant"]
    content: str


class Question(BaseModel):
    prompt: str = Field(min_length=1, max_length=8000)
    history: list[Turn] = Field(default=[], max_length=100)


@cache
def client() -> OpenAI:
    """One for each worker process: it keeps its connections."""
    return OpenAI()


# If the process that runs it is killed, another one restarts the answer.
@stream_task(soft_time_limit=300, acks_late=True, reject_on_worker_lost=True)
def answer(prompt: str, history: ResponseInputParam) -> Iterator[ResponseStreamEvent]:
    messages: ResponseInputParam = [*history, {"role": "user", "content": prompt}]
    try:
        # `with`: the connection to the model is closed when the visitor stops the answer.
        with client().responses.create(model=MODEL, input=messages, stream=True) as events:
            yield from events
    except APIError as error:
        # Readers see this message; what the model's server said is in the worker's log.
        raise PublicError("The model could not answer. Try again in a moment.") from error
