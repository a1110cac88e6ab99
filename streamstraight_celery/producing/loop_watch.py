"""Notices async generators that block the event loop, which all of them share."""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
import time
from types import CodeType, FrameType
from typing import ClassVar
from weakref import WeakKeyDictionary

from ..os_threads import os_thread_ident, start_os_thread

log = logging.getLogger(__name__)

# How long something may block the loop until it is logged, and how often that is looked at.
BLOCKED_AFTER = 1.0
LOOK_INTERVAL = 0.5
# A generator that blocks again is not logged again for so long.
SILENCE = 60.0


class LoopWatch:
    """Watches one event loop while generators run on it.

    Args:
        driving: the code of a coroutine that drives a generator, and whose `self` has its `name`.
    """

    _of_loops: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, LoopWatch]] = (
        WeakKeyDictionary()
    )

    def __init__(self, driving: CodeType) -> None:
        self._driving = driving
        self._watching = False
        self._thread = os_thread_ident()
        self._running = 0
        self._seen = 0.0
        self._logged: dict[str, float] = {}

    @classmethod
    def enter(cls, driving: CodeType) -> LoopWatch:
        """A generator begins on the running loop: return its watch, to `leave` at the end."""
        loop = asyncio.get_running_loop()
        watch = cls._of_loops.get(loop)
        if watch is None:
            watch = cls._of_loops[loop] = cls(driving)
        watch._running += 1
        if not watch._watching:
            watch._watching, watch._seen = True, time.monotonic()
            start_os_thread("stream-loop-watch", functools.partial(watch._watch, loop))
        return watch

    def leave(self) -> None:
        """A generator has ended; called on the loop."""
        self._running -= 1

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._is_needed():
            try:
                loop.call_soon_threadsafe(self._note)
            except RuntimeError:  # it is closed
                return
            time.sleep(LOOK_INTERVAL)
            blocked = time.monotonic() - self._seen
            if blocked >= BLOCKED_AFTER:
                self._tell(blocked)

    def _is_needed(self) -> bool:
        if self._running:
            return True
        # In this order: a generator that begins meanwhile is seen here, or starts another thread.
        self._watching = False
        if not self._running or self._watching:
            return False
        self._watching = True
        return True

    def _note(self) -> None:
        self._seen = time.monotonic()

    def _tell(self, blocked: float) -> None:
        frame = sys._current_frames().get(self._thread)
        if frame is None:
            return
        name, place = "a callback", place_of_frame(frame)
        outer: FrameType | None = frame
        while outer is not None:
            if outer.f_code is self._driving:
                name = str(outer.f_locals["self"].name)
                break
            outer = outer.f_back
        now = time.monotonic()
        if now - self._logged.get(name, -SILENCE) < SILENCE:
            return
        self._logged = {**self._logged, name: now} if len(self._logged) < 100 else {name: now}
        log.warning(
            "%s has blocked the event loop for %.1f s, at %s: no other async generator of this "
            "process goes on meanwhile. Use an async client, or await asyncio.to_thread(...)",
            name, blocked, place,
        )  # fmt: skip


def place_of_frame(frame: FrameType) -> str:
    """Where a frame is: `file:line in function`."""
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
