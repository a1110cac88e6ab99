"""Where a sync generator runs: a thread, or a greenlet."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import ctypes
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from types import FrameType
from typing import Any

from ..errors import StreamError, StreamStopped
from ..os_threads import Mailbox, green_threads
from .loop_watch import place_of_frame


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

    @property
    def frame(self) -> FrameType | None:
        """Where it is, while another one runs."""
        frame: FrameType | None = self._greenlet.gr_frame
        return frame

    def throw(self, error: BaseException) -> None:
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


def carry_out(calls: Mailbox[Callable[[], None] | None], timeout: float | None = None) -> None:
    """Do what is called for, until the end.

    Raises:
        queue.Empty: nothing was for `timeout` seconds.
    """
    while (call := calls.get(timeout)) is not None:
        call()


def settle(outcome: Future[Any], error: BaseException | None, value: Any = None) -> None:
    """Set a future that both sides may set: the first one counts."""
    with contextlib.suppress(InvalidStateError):
        if error is None:
            outcome.set_result(value)
        else:
            outcome.set_exception(error)


def own_error(error: BaseException) -> StreamError:
    """What stands for an error that Celery takes for no task's own, and would wait on forever."""
    own = StreamError(f"{type(error).__name__} came from within the generator")
    own.__cause__ = error
    return own


def copy_outcome(task: asyncio.Task[None], future: Future[None]) -> None:
    """Hand a task's outcome to the thread that waits for it."""
    if task.cancelled():
        # Not future.cancel(): the waiting thread would see another class of CancelledError.
        future.set_exception(asyncio.CancelledError())
    elif (error := task.exception()) is not None:
        known = isinstance(error, (Exception, StreamStopped))
        future.set_exception(error if known else own_error(error))
    else:
        future.set_result(None)


def place_of(greenlet: CurrentGreenlet | None, thread: int) -> str:
    """Where a greenlet, or else a thread, is now: `file:line in function`."""
    frame = greenlet.frame if greenlet is not None else sys._current_frames().get(thread)
    if frame is None:
        return ""
    return place_of_frame(frame)


# How far from its innermost frame a thread that reads has the socket at hand.
_DEEPEST = 8
# Where the frames that read from a socket keep it: socket, http.client, httpcore, websockets.
_SOCKETS = ("_sock", "sock", "socket", "_socket")


# Packages that run what others give them, and ours: their frames say nothing of who works for whom.
_MACHINERY = {
    "threading", "concurrent", "contextlib", "asyncio", "anyio", "multiprocessing", "gevent",
    "eventlet", __name__.partition(".")[0],
}  # fmt: skip


def job_frame(frame: FrameType | None) -> FrameType | None:
    """The frame that stands for what a thread does now, of which this is an inner one.

    A thread of a pool has another one for its next job.
    """
    job = None
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] not in _MACHINERY:
            job = frame
        frame = frame.f_back
    return job


def reads_within(innermost: FrameType | None, job: FrameType) -> bool:
    """Whether a thread reads from a socket of its own in the course of that job."""
    if innermost is None or _socket_of(innermost) is None:
        return False
    frame: FrameType | None = innermost
    while frame is not None and frame is not job:
        frame = frame.f_back
    return frame is job


def hang_up(thread: int, error: type[BaseException]) -> None:
    """Raise in a thread, and shut down the socket from which it reads, if it does.

    Neither is enough: Python raises when the read is over, and a client may take a connection that
    breaks for one to be made again.
    """
    set_error = ctypes.pythonapi.PyThreadState_SetAsyncExc
    set_error(ctypes.c_ulong(thread), ctypes.py_object(error))
    found = _socket_of(sys._current_frames().get(thread))
    if found is not None:
        with contextlib.suppress(OSError):
            found.shutdown(socket.SHUT_RDWR)


def _socket_of(frame: FrameType | None) -> socket.socket | None:
    """The socket from which a thread reads, by its innermost frame."""
    for _ in range(_DEEPEST):
        if frame is None:
            return None
        reader = frame.f_locals.get("self")
        for found in (reader, *(getattr(reader, name, None) for name in _SOCKETS)):
            # Others may read over a connection of HTTP/2.
            if isinstance(found, socket.socket) and not _is_shared(found):
                return found
        frame = frame.f_back
    return None


def _is_shared(found: socket.socket) -> bool:
    return isinstance(found, ssl.SSLSocket) and found.selected_alpn_protocol() == "h2"


def _close_django_connections() -> None:
    """Each thread has its own, and nobody else closes those of this one."""
    conf, database = sys.modules.get("django.conf"), sys.modules.get("django.db")
    if conf is not None and database is not None and conf.settings.configured:
        database.connections.close_all()
