"""What type checkers say of decorations. Each line that they must refuse says so at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

from typing_extensions import assert_type

from streamstraight_celery import StreamHandle, StreamTask, stream_task


def sync(prompt: str) -> Iterator[str]:
    yield prompt


def with_value(prompt: str) -> Generator[str, None, int]:
    yield prompt
    return 1


async def asynchronous(prompt: str) -> AsyncIterator[str]:
    yield prompt


def with_self(self: StreamTask[Any], prompt: str) -> Iterator[str]:
    yield f"{self.stream_id} {prompt}"


def plain(prompt: str) -> str:
    return prompt


async def coroutine(prompt: str) -> str:
    return prompt


# -- right

assert_type(stream_task(sync).stream("hi"), StreamHandle)
assert_type(stream_task(with_value).stream("hi"), StreamHandle)
assert_type(stream_task(asynchronous).stream("hi"), StreamHandle)
stream_task()(sync).stream("hi")
stream_task(bind=True)(with_self).stream("hi")

# -- wrong

stream_task(plain)  # error
stream_task(coroutine)  # error
stream_task()(plain)  # error
stream_task(bind=True)(plain)  # error
stream_task(7)  # error
stream_task(bind="yes")  # error
