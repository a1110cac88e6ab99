"""Stream tasks that run in the tests' own process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from celery import Celery

from streamstraight_celery import StreamTask

app = Celery("observed", broker="memory://", set_as_current=False)
app.conf.update(task_always_eager=True)


@app.task(base=StreamTask)
def speak(text: str) -> Iterator[str]:
    yield from text.split()


@app.task(base=StreamTask)
async def aspeak(text: str) -> AsyncIterator[str]:
    for word in text.split():
        yield word


@app.task(base=StreamTask)
def silent() -> Iterator[str]:
    yield from ()


@app.task(base=StreamTask)
def broken(text: str) -> Iterator[str]:
    yield text
    raise ValueError("the line is bad")


@app.task(base=StreamTask, bind=True, max_retries=1)
def flaky(self: Any) -> Iterator[str]:
    yield f"attempt {self.request.retries}"
    if not self.request.retries:
        raise self.retry(countdown=0)


@app.task(base=StreamTask)
def endless() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


@app.task(base=StreamTask, bind=True)
def meddled(self: Any, meddle: Callable[[str], object]) -> Iterator[str]:
    yield "one"
    meddle(self.stream_id)
    yield "two"
