"""Where a user's generator runs: a thread, the event loop's thread, or a greenlet."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from kombu.utils.compat import detect_environment


def start_thread(name: str, call: Callable[[], None]) -> None:
    """Call it in a thread of its own, which sees the context variables of this one."""
    context = contextvars.copy_context()

    def run() -> None:
        try:
            context.run(call)
        finally:
            _close_django_connections()

    threading.Thread(target=run, name=name, daemon=True).start()


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


class CurrentGreenlet:
    """The greenlet that runs now, to be interrupted later from another one of the same thread."""

    def __init__(self, greenlet: Any, soon: Callable[[Callable[[], None]], object]) -> None:
        self._greenlet = greenlet
        self.soon = soon

    def throw(self, error: type[BaseException]) -> None:
        """Raise in it; only from a function given to `soon`."""
        self._greenlet.throw(error)


def current_greenlet() -> CurrentGreenlet | None:
    """The greenlet that runs now; None where there are none, or Python's own threads are in use."""
    environment = detect_environment()  # type: ignore[no-untyped-call]
    if environment == "gevent":
        import gevent

        return CurrentGreenlet(gevent.getcurrent(), gevent.get_hub().loop.run_callback)
    if environment == "eventlet":
        import eventlet
        from eventlet.hubs import get_hub

        hub = get_hub()
        return CurrentGreenlet(
            eventlet.getcurrent(), lambda call: hub.schedule_call_global(0, call)
        )
    return None


def _close_django_connections() -> None:
    """Each thread has its own, and nobody else closes those of this one."""
    conf, database = sys.modules.get("django.conf"), sys.modules.get("django.db")
    if conf is not None and database is not None and conf.settings.configured:
        database.connections.close_all()
