"""Ending the tasks of an event loop."""

from __future__ import annotations

import asyncio
from typing import Any

# How long a cancelled task may clean up before it is cancelled again, in seconds.
AGAIN = 1.0


async def cancelled(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks, and return when all are over; what they raise is not raised here.

    Again and again, because a cancellation can be lost: until Python 3.12 `asyncio.wait_for` does
    so when what it waits for fails at that moment, and a loop that tries again would go on for
    ever (https://github.com/python/cpython/issues/86296).
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN)
    # Seen, so that no task's error is reported as one that nobody looked at.
    for task in tasks:
        if not task.cancelled():
            task.exception()
