"""Telling workers of stops through the broker, which may be away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

OnStop = Callable[[str], None]


class StopTeller:
    """Tells of stops one after the other, on one thread that lives while there are any.

    A broker that is away holds up a call for seconds, and a process that ends would wait for each
    of them: so the thread does not count for that, and a failure stands for all that wait. The
    producers learn of their stops from the relay as well, only a little later.

    Args:
        tell: the function to call, which may block and raise.
    """

    def __init__(self, tell: OnStop) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._waiting: dict[str, None] = {}  # in the order in which they came
        self._running = False

    def soon(self, stream_id: str) -> None:
        """Tell of this stop as soon as it can be."""
        with self._lock:
            self._waiting[stream_id] = None
            if self._running:
                return
            self._running = True
        threading.Thread(target=self._run, name="streams-stops", daemon=True).start()

    def _run(self) -> None:
        while (stream_id := self._next()) is not None:
            try:
                self._tell(stream_id)
            except Exception:
                with self._lock:
                    missed = 1 + len(self._waiting)
                    self._waiting.clear()
                logger.warning("workers could not be told of %d stops", missed, exc_info=True)

    def _next(self) -> str | None:
        with self._lock:
            if not self._waiting:
                self._running = False
                return None
            stream_id = next(iter(self._waiting))
            del self._waiting[stream_id]
            return stream_id
