"""Run the first step of a send at once, on behalf of a task that waits.

To wake a task for each part of a response costs a turn of the event loop, and more than the send
itself. Most sends never wait: they write to a socket's buffer. Those that do are finished by the
task.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context
from typing import Any


def begin(
    sending: Awaitable[None], task: asyncio.Task[Any], context: Context
) -> Awaitable[None] | None:
    """Take the first step of `sending`; None: it is done, else what `task` has to await.

    Args:
        sending: a send that nobody has awaited yet.
        task: whose send it is; it waits for something else now.
        context: of the task: middlewares may look for their variables.
    """
    if not isinstance(sending, Coroutine) or asyncio.current_task() is not None:
        return sending
    loop = asyncio.get_running_loop()
    _enter_task(loop, task)
    try:
        waits_for = context.run(sending.send, None)
    except StopIteration:
        return None
    except (Exception, asyncio.CancelledError) as error:
        return _raise(error)
    finally:
        _leave_task(loop, task)
    return _Rest(sending, waits_for)


async def _raise(error: BaseException) -> None:
    raise error


class _Rest(Awaitable[None]):
    """What is left of a coroutine that waits for `waits_for`."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        step: Callable[[], Any]
        while True:
            try:
                yield self._waits_for
            except BaseException as error:
                thrown = error
                step = lambda: self._coroutine.throw(thrown)  # noqa: B023, E731 - called at once
            else:
                step = lambda: self._coroutine.send(None)  # noqa: E731
            try:
                self._waits_for = step()
            except StopIteration:
                return
