"""What a type checker makes of handles, as users write them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from typing_extensions import assert_type

from streamstraight_celery import (
    AsyncStreamReader,
    StreamHandle,
    StreamReader,
    aactive_stream,
    aget_stream,
    stream_task,
)


@stream_task
def answer(prompt: str, temperature: float = 1.0) -> Iterator[str]:
    yield prompt


async def route() -> None:
    handle = await answer.astream("hello", temperature=0.5)
    assert_type(handle, StreamHandle)
    await answer.astream(1)  # error
    assert_type(await aget_stream("id"), StreamHandle)
    assert_type(await aactive_stream("chat"), StreamHandle | None)
    assert_type(await handle.astop(wait=5), bool)
    assert_type(handle.aread(type=int), AsyncStreamReader[int])
    async for chunk in handle:
        assert_type(chunk, Any)


handle = answer.stream("hello")
assert_type(handle.read(), StreamReader[Any])
assert_type(handle.read(type=int, idle=1), StreamReader[int])
assert_type(handle.stop(wait=True), bool)
assert_type(handle.delete(), bool)
handle.read(token="x")  # error
asyncio.run(route())
