"""The first step of a send, taken at once for a task that waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar, copy_context

import pytest

from streamstraight_celery.server.reads.eager import begin

NAME: ContextVar[str] = ContextVar("NAME")


async def attempt(send: Callable[[], Awaitable[None]]) -> tuple[bool, asyncio.Task[None]]:
    """Begin a send for a waiting task, which awaits the rest: whether there was none."""
    began: asyncio.Future[Awaitable[None] | None] = asyncio.get_running_loop().create_future()

    async def waiting() -> None:
        NAME.set("of the task")
        contexts.append(copy_context())
        rest = await began
        if rest is not None:
            await rest

    contexts = []
    task = asyncio.ensure_future(waiting())
    await asyncio.sleep(0)

    def step() -> None:
        began.set_result(begin(send(), task, contexts[0]))

    asyncio.get_running_loop().call_soon(step)
    return await began is None, task


async def test_a_send_that_never_waits_is_done_at_once() -> None:
    seen = []

    async def send() -> None:
        seen.append((asyncio.current_task(), NAME.get()))

    done, task = await attempt(send)
    assert done
    await task
    assert seen == [(task, "of the task")]


async def test_a_send_that_waits_is_finished_by_the_task() -> None:
    gate, seen = asyncio.Event(), []

    async def send() -> None:
        for _ in range(2):
            await gate.wait()
            await asyncio.sleep(0)
        seen.append(asyncio.current_task())

    done, task = await attempt(send)
    assert not done
    assert not seen
    gate.set()
    await task
    assert seen == [task]


async def test_errors_and_cancellation_reach_the_task() -> None:
    async def fails() -> None:
        raise OSError("gone")

    done, task = await attempt(fails)
    assert not done
    with pytest.raises(OSError, match="gone"):
        await task
    left = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            left.append(True)

    _, task = await attempt(waits)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left == [True]
