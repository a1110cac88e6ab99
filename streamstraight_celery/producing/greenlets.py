"""Interrupting a greenlet of the gevent or eventlet pool while it waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kombu.utils.compat import detect_environment


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
