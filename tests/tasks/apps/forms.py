"""Stream tasks in every form that Celery users know."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pydantic
from celery import shared_task
from celery.canvas import Signature

from streamstraight_celery import StreamTask, stream_task
from tests.tasks.apps.marks import leave_mark
from tests.tasks.apps.project import app


@stream_task
def bare(text: str) -> Iterator[str]:
    yield from text.split()


@stream_task(name="a-name-of-its-own", acks_late=True)
def optioned(text: str) -> Iterator[str]:
    yield from text.split()


@stream_task()
def returning(text: str) -> Iterator[str]:
    yield from text.split()
    return {"words": len(text.split())}


@stream_task(bind=True)
def bound(self: StreamTask[Any], text: str) -> Iterator[Any]:
    yield {"stream": self.stream_id, "task": self.request.id, "retries": self.request.retries}
    yield text


@stream_task
async def asynchronous(text: str) -> AsyncIterator[str]:
    for word in text.split():
        await asyncio.sleep(0)
        yield word


@stream_task(bind=True)
async def asynchronous_bound(self: StreamTask[Any], text: str) -> AsyncIterator[Any]:
    await asyncio.sleep(0)
    yield {"stream": self.stream_id, "task": self.request.id, "retries": self.request.retries}
    yield text


@app.task(base=StreamTask)
def on_app(text: str) -> Iterator[str]:
    yield from text.split()


@app.task(base=StreamTask, bind=True)
def on_app_bound(self: StreamTask[Any], text: str) -> Iterator[str]:
    yield self.request.id
    yield text


@shared_task(base=StreamTask)
def shared(text: str) -> Iterator[str]:
    yield from text.split()


class CountDown(StreamTask):
    name = "count-down"

    def run(self, start: int) -> Iterator[int]:
        yield from range(start, 0, -1)


count_down = app.register_task(CountDown())


class CountUp(StreamTask):
    name = "count-up"

    async def run(self, end: int) -> AsyncIterator[Any]:
        yield self.stream_id
        for number in range(end):
            yield number


count_up = app.register_task(CountUp())


class Audited(StreamTask):
    """A base class of a user's own, with Celery's handlers."""

    abstract = True

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        leave_mark(f"audit:{task_id}", "before")

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        leave_mark(f"audit:{task_id}", f"success {retval}")

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        leave_mark(f"audit:{task_id}", f"failure {exc}")

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        leave_mark(f"audit:{task_id}", f"retry {exc}")


@stream_task(base=Audited)
def audited(text: str) -> Iterator[str]:
    yield from text.split()
    return "done"


@stream_task(base=Audited, autoretry_for=(LookupError,), max_retries=1, default_retry_delay=0.3)
def audited_failure(text: str) -> Iterator[str]:
    yield text
    raise LookupError("no luck")


def numbered(function: Callable[..., Iterator[str]]) -> Callable[..., Iterator[str]]:
    """A decorator as users have them: passes the generator on."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Iterator[str]:
        return (f"{number} {word}" for number, word in enumerate(function(*args, **kwargs)))

    return wrapper


def streaming(function: Callable[..., list[str]]) -> Callable[..., Iterator[str]]:
    """A decorator that makes a generator function of a plain one."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Iterator[str]:
        yield from function(*args, **kwargs)

    return wrapper


def gathered(function: Callable[..., Iterator[str]]) -> Callable[..., list[str]]:
    """A decorator that does not pass the generator on."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> list[str]:
        return list(function(*args, **kwargs))

    return wrapper


@stream_task
@numbered
def wrapped(text: str) -> Iterator[str]:
    yield from text.split()


@stream_task
@streaming
def made_streaming(text: str) -> list[str]:
    return text.split()


@stream_task
@gathered
def spoilt(text: str) -> Iterator[str]:
    yield from text.split()


@stream_task
def annotated(text: str, *, mark: str) -> Iterator[str]:
    yield from text.split()


class Question(pydantic.BaseModel):
    text: str
    times: int = 1


class Verdict(pydantic.BaseModel):
    words: int


@stream_task(pydantic=True)
def validated(question: Question) -> Iterator[Any]:
    yield {"is": type(question).__name__}
    for _ in range(question.times):
        yield question.text


@stream_task(pydantic=True, bind=True)
def validated_bound(self: StreamTask[Any], question: Question) -> Iterator[Any]:
    yield self.stream_id
    yield question.text


@stream_task(ignore_result=True)
def unrecorded(text: str) -> Iterator[str]:
    yield from text.split()


@stream_task
def nothing() -> Iterator[str]:
    yield from ()


@stream_task
def starting(mark: str) -> Iterator[str]:
    """Tells when and how often it has been started."""
    yield str(leave_mark(mark, "started"))


@stream_task(bind=True, rate_limit="2/s")
def limited(self: StreamTask[Any], mark: str) -> Iterator[float]:
    import time

    leave_mark(mark, time.time())
    yield 1


@app.task
def joined(parts: Any, *rest: Any) -> str:
    """A plain task at the end of a canvas."""
    return f"joined {parts}"


@stream_task
def continued(before: Any, text: str = "end") -> Iterator[Any]:
    """Takes the result of the task before."""
    yield before
    yield text
    return f"{before} {text}"


@app.task
def note(result: Any, mark: str) -> None:
    leave_mark(mark, result)


@app.task
def note_error(request: Any, error: Any, traceback: Any, mark: str = "") -> None:
    leave_mark(mark or f"errback:{request.id}", error)


@app.task
def plain() -> str:
    return "plain"


@stream_task(bind=True)
def replacing(self: StreamTask[Any], prompt: str) -> Iterator[str]:
    """Hands its place over to another stream task, which has the same id."""
    yield "a first try"
    self.replace(bare.s(prompt))


@stream_task(bind=True)
def replacing_by(self: StreamTask[Any], signature: dict[str, Any]) -> Iterator[str]:
    """Hands its place over to whatever it is told to."""
    yield "a first try"
    self.replace(Signature.from_dict(signature, app=self.app))


@shared_task
def spaced(words: list[str]) -> str:
    """A plain task before a stream task."""
    return " ".join(words)


@stream_task
def each_of(texts: list[str]) -> Iterator[str]:
    yield from texts
