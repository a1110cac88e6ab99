"""Calls that may block for long, made one after the other on a thread of their own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class InTurn:
    """Calls a function with one stream id after the other, on one thread.

    The thread lives while there are any. The function needs the broker. One that is away holds up a
    call for seconds, and a process that ends would wait for each of them: so the thread does not
    count for that, and a failure stands for all that wait.

    Args:
        call: the function, which may block and raise.
        failed: what to log when it raises, with a `%d` for how many calls are given up.
    """

    def __init__(self, call: Callable[[str], object], failed: str) -> None:
        self._call = call
        self._failed = failed
        self._lock = threading.Lock()
        self._waiting: dict[str, None] = {}  # in the order in which they came
        self._thread: threading.Thread | None = None

    def soon(self, stream_id: str) -> None:
        """Make the call for this stream as soon as it can be."""
        with self._lock:
            self._waiting[stream_id] = None
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run, name="streams-in-turn", daemon=True)
            self._thread.start()

    def flush(self, timeout: float = 2.0) -> None:
        """Wait until all calls asked for so far are made, for `timeout` seconds at most."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def _run(self) -> None:
        while (stream_id := self._next()) is not None:
            try:
                self._call(stream_id)
            except Exception:
                with self._lock:
                    missed = 1 + len(self._waiting)
                    self._waiting.clear()
                log.warning(self._failed, missed, exc_info=True)

    def _next(self) -> str | None:
        with self._lock:
            if not self._waiting:
                self._thread = None
                return None
            stream_id = next(iter(self._waiting))
            del self._waiting[stream_id]
            return stream_id
