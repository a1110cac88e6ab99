"""Stream tasks that are delivered again: they begin anew, go on, or fail."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

from openai import OpenAI

from streamstraight_celery import StreamTask, stream_task
from tests.tasks.apps.listening import lines_from, lines_from_asynchronously
from tests.tasks.apps.marks import leave_mark

AGAIN: dict[str, Any] = {"acks_late": True, "reject_on_worker_lost": True}


@stream_task(bind=True, on_redelivery="resume", **AGAIN)
def background(self: StreamTask[Any], base_url: str, hold: int) -> Iterator[Any]:
    """An OpenAI background response, which the provider goes on with whoever listens."""
    with OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        events: Any
        if self.stream.saved is None:
            events = client.responses.create(
                model=f"openai-responses-background?hold={hold}",
                input="", background=True, stream=True,
            )  # fmt: skip
        else:
            after: Any = {"starting_after": self.stream.sent - 1} if self.stream.sent else {}
            events = client.responses.retrieve(self.stream.saved, stream=True, **after)
        for event in events:
            if event.type == "response.created":
                self.stream.checkpoint(event.response.id)
            yield event


@stream_task(bind=True, on_redelivery="resume", **AGAIN)
def counting(self: StreamTask[Any], port: int) -> Iterator[Any]:
    """Tells what it was told; `save` makes a checkpoint."""
    stream = self.stream
    yield [stream.attempt, stream.sent, stream.saved, stream.sent_since, os.getpid()]
    for line in lines_from(port):
        if line == "save":
            stream.checkpoint({"attempt": stream.attempt})
        yield line


@stream_task(bind=True, on_redelivery="resume", **AGAIN)
async def counting_asynchronously(self: StreamTask[Any], port: int) -> AsyncIterator[Any]:
    stream = self.stream
    yield [stream.attempt, stream.sent, stream.saved, stream.sent_since, os.getpid()]
    async for line in lines_from_asynchronously(port):
        if line == "save":
            stream.checkpoint({"attempt": stream.attempt})
        yield line


@stream_task(bind=True, on_redelivery="resume", autoretry_for=(LookupError,), default_retry_delay=1)
def retried_and_resumed(self: StreamTask[Any]) -> Iterator[Any]:
    yield from range(self.stream.sent, 3)
    if not self.request.retries:
        raise LookupError("once")
    yield "end"


@stream_task(on_redelivery="fail", **AGAIN)
def once(port: int, mark: str) -> Iterator[Any]:
    leave_mark(mark)
    yield os.getpid()
    yield from lines_from(port)


@stream_task(bind=True, on_redelivery="fail", autoretry_for=(LookupError,), default_retry_delay=1)
def once_but_retried(self: StreamTask[Any]) -> Iterator[Any]:
    yield self.request.retries
    if not self.request.retries:
        raise LookupError("once")


@stream_task(bind=True)
def wrong_checkpoint(self: StreamTask[Any]) -> Iterator[Any]:
    yield 1
    self.stream.checkpoint(object())
