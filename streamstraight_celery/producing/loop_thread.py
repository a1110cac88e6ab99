"""The event loop on which a process runs its async generators."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading


class _LoopThread:
    """The loop, and the thread that runs it.

    One for all tasks, because a shared async client must not outlive the loop it was first used on
    (a loop for each task breaks it: "Event loop is closed").
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, name="stream-loop", daemon=True).start()

    def _run(self) -> None:
        # For these two asyncio leaves the loop. They are for the task that raised them, which gets
        # them as any other error; the generators of the others go on.
        while True:
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                self.loop.run_forever()


_loop: _LoopThread | None = None
_loop_lock = threading.Lock()


def loop_thread() -> asyncio.AbstractEventLoop:
    """Return this process' event loop for async generators, started when first needed."""
    global _loop
    with _loop_lock:
        # A loop thread does not survive a fork.
        if _loop is None or _loop.pid != os.getpid():
            _loop = _LoopThread()
        return _loop.loop
