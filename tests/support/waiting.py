"""Wait for conditions, never for time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Seconds, for a machine that is busy with other things: nothing takes as long when all is well.
# Runs that expect failures (tests/mutations) wait for less.
PATIENCE = float(os.environ.get("TESTS_PATIENCE", "60"))


def eventually(
    condition: Callable[[], T],
    what: str = "",
    timeout: float = PATIENCE,
    ignoring: tuple[type[Exception], ...] = (),
) -> T:
    """Return the first true value of a condition.

    Args:
        condition: asked again and again.
        what: says what was waited for, when it does not come.
        timeout: seconds.
        ignoring: errors of the condition that count as false.

    Raises:
        AssertionError: there was none in time.
    """
    deadline = time.monotonic() + timeout
    while not (value := _ask(condition, ignoring)):
        _check(deadline, timeout, what)
        time.sleep(0.005)
    return value


async def eventually_async(
    condition: Callable[[], T], what: str = "", timeout: float = PATIENCE
) -> T:
    """As `eventually`; the event loop runs meanwhile."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        _check(deadline, timeout, what)
        await asyncio.sleep(0.005)
    return value


def _ask(condition: Callable[[], T], ignoring: tuple[type[Exception], ...]) -> T | None:
    try:
        return condition()
    except ignoring:
        return None


def _check(deadline: float, timeout: float, what: str) -> None:
    assert time.monotonic() < deadline, f"waited {timeout:g} s: {what or 'the condition is false'}"
