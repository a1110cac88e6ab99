"""Where a sync generator runs: a thread, or a greenlet."""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable
from typing import Any

from ..os_threads import green_threads


def start_thread(name: str, call: Callable[[], None]) -> None:
    """Call it in a thread of its own, which sees the context variables of this one."""
    context = contextvars.copy_context()

    def run() -> None:
        try:
            context.run(call)
        finally:
            _close_django_connections()

    threading.Thread(target=run, name=name, daemon=True).start()


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
    green = green_threads()
    if green == "gevent":
        import gevent

        return CurrentGreenlet(gevent.getcurrent(), gevent.get_hub().loop.run_callback_threadsafe)
    if green == "eventlet":
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
