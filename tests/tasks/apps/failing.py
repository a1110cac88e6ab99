"""Stream tasks that fail, and are retried."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

from streamstraight_celery import PublicError, StreamTask, stream_task
from tests.tasks.apps.listening import lines_from, lines_from_asynchronously
from tests.tasks.apps.project import app

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

# Not 0: Celery stores that a task is to be retried after it has sent the message for that, and
# would overwrite the result of a retry that is done sooner.
SOON = 0.3


@stream_task(
    bind=True, autoretry_for=(ConnectionResetError,), max_retries=3, default_retry_delay=SOON
)
def flaky(self: StreamTask[Any], prompt: str, failures: int = 1) -> Iterator[str]:
    """Breaks off after two chunks, `failures` times."""
    attempt = self.request.retries + 1
    yield f"{attempt} one"
    yield f"{attempt} two"
    if attempt <= failures:
        raise ConnectionResetError("the line is bad")
    yield f"{attempt} three"


@stream_task(
    bind=True, autoretry_for=(ConnectionResetError,), max_retries=3, default_retry_delay=SOON
)
async def flaky_asynchronous(
    self: StreamTask[Any], prompt: str, failures: int = 1
) -> AsyncIterator[str]:
    attempt = self.request.retries + 1
    yield f"{attempt} one"
    await asyncio.sleep(0)
    if attempt <= failures:
        raise ConnectionResetError("the line is bad")
    yield f"{attempt} two"


# On quorum queues Celery cannot delay a message by less than a second.
@stream_task(bind=True, autoretry_for=(ConnectionResetError,), default_retry_delay=1)
def flaky_by_the_second(self: StreamTask[Any]) -> Iterator[str]:
    yield f"{self.request.retries} one"
    if not self.request.retries:
        raise ConnectionResetError("the line is bad")


@stream_task(bind=True, autoretry_for=(ConnectionResetError,), default_retry_delay=0)
def flaky_without_delay(self: StreamTask[Any], failures: int) -> Iterator[str]:
    yield f"{self.request.retries} one"
    if self.request.retries < failures:
        raise ConnectionResetError("the line is bad")


@stream_task(autoretry_for=(ConnectionResetError,), max_retries=3, default_retry_delay=SOON)
def unsteady(port: int) -> Iterator[str]:
    """Breaks off when it hears `break`."""
    for line in lines_from(port):
        if line == "break":
            raise ConnectionResetError("the line is bad")
        yield line


@stream_task(autoretry_for=(ConnectionResetError,), max_retries=3, default_retry_delay=SOON)
async def unsteady_asynchronous(port: int) -> AsyncIterator[str]:
    async for line in lines_from_asynchronously(port):
        if line == "break":
            raise ConnectionResetError("the line is bad")
        yield line


@stream_task(bind=True, max_retries=3)
def by_hand(self: StreamTask[Any], prompt: str) -> Iterator[str]:
    yield f"{self.request.retries} {prompt}"
    if self.request.retries < 2:
        raise self.retry(countdown=SOON)
    yield "enough"


@stream_task(bind=True, max_retries=3)
async def by_hand_asynchronous(self: StreamTask[Any], prompt: str) -> AsyncIterator[str]:
    yield f"{self.request.retries} {prompt}"
    await asyncio.sleep(0)
    if self.request.retries < 1:
        raise self.retry(countdown=SOON)
    yield "enough"


@stream_task(bind=True, max_retries=3)
def with_other_arguments(self: StreamTask[Any], prompt: str, again: bool = True) -> Iterator[str]:
    yield prompt
    if again:
        raise self.retry(kwargs={"prompt": "something shorter", "again": False}, countdown=SOON)


@stream_task(bind=True, max_retries=1)
def hopeless_by_hand(self: StreamTask[Any], prompt: str) -> Iterator[str]:
    yield "beginning"
    raise self.retry(countdown=SOON)


@stream_task(autoretry_for=(ValueError,), max_retries=1, default_retry_delay=SOON)
def hopeless(prompt: str) -> Iterator[str]:
    yield "beginning"
    raise ValueError(f"cannot answer {prompt!r}")


@stream_task
def broken(prompt: str) -> Iterator[str]:
    yield "beginning"
    raise ValueError(f"cannot answer {prompt!r}")


@stream_task
async def broken_asynchronous(prompt: str) -> AsyncIterator[str]:
    yield "beginning"
    await asyncio.sleep(0)
    raise ValueError(f"cannot answer {prompt!r}")


@stream_task
def broken_at_once(prompt: str) -> Iterator[str]:
    if prompt:
        raise ValueError(f"cannot answer {prompt!r}")
    yield "never"


@stream_task
def frank(prompt: str) -> Iterator[str]:
    yield "beginning"
    raise PublicError("The question is too long for this model.", code="question-too-long")


# What Python means for a whole process, or for a coroutine.
EXITS = {"exit": SystemExit, "interrupt": KeyboardInterrupt, "cancel": asyncio.CancelledError}


@stream_task
def exiting(kind: str) -> Iterator[str]:
    yield "beginning"
    raise EXITS[kind]


@stream_task
async def exiting_asynchronously(kind: str) -> AsyncIterator[str]:
    yield "beginning"
    raise EXITS[kind]


def _wrapped(how: str, error: Exception) -> Exception:
    """The error as a task group, or other code around it, raises it."""
    if how == "group":
        return ExceptionGroup("several", [ValueError("x"), ExceptionGroup("inner", [error])])
    wrapper = RuntimeError(f"wrapped: {SECRET}")
    wrapper.__cause__ = error
    return wrapper


SECRET = "sk-in-the-wrapper"


@stream_task
def frank_within(how: str) -> Iterator[str]:
    """Raises a public error within another."""
    yield "one"
    raise _wrapped(how, PublicError("Too many questions", code="quota"))


@stream_task(
    bind=True, autoretry_for=(ConnectionResetError,), max_retries=3, default_retry_delay=SOON
)
def flaky_within(self: StreamTask[Any], how: str) -> Iterator[str]:
    """Breaks off once, with an error that is wrapped."""
    yield f"{self.request.retries}"
    if self.request.retries == 0:
        raise _wrapped(how, ConnectionResetError("the line is bad"))


def breaking_after(self: StreamTask[Any], chunks: int) -> Iterator[str]:
    """Its first attempt breaks after so many chunks."""
    for number in range(chunks):
        yield f"{self.request.retries} {number}"
    if not self.request.retries:
        raise ConnectionResetError("the line is bad")
    yield "enough"


RETRIES: Any = {"autoretry_for": (ConnectionResetError,), "default_retry_delay": SOON}


@stream_task(bind=True, retry="before-first-chunk", **RETRIES)
def final_once_begun(self: StreamTask[Any], chunks: int) -> Iterator[str]:
    yield from breaking_after(self, chunks)


@app.task(base=StreamTask, bind=True, retry="before-first-chunk", **RETRIES)
def final_once_begun_on_app(self: StreamTask[Any], chunks: int) -> Iterator[str]:
    yield from breaking_after(self, chunks)


@stream_task(bind=True, retry="before-first-chunk", sends=True, **RETRIES)
async def final_once_sent(self: StreamTask[Any], chunks: int) -> None:
    for chunk in breaking_after(self, chunks):
        await self.stream.asend(chunk)


@stream_task(bind=True, retry="before-first-chunk", max_retries=3)
def final_by_hand(self: StreamTask[Any], chunks: int) -> Iterator[str]:
    try:
        yield from breaking_after(self, chunks)
    except ConnectionResetError as error:
        raise self.retry(countdown=SOON, exc=error) from error
