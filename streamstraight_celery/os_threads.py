"""Threads of the operating system, also where gevent or eventlet have replaced Python's.

asyncio keeps the running event loop by OS thread. A loop in a greenlet makes all greenlets of the
process look as if they ran in that loop: `asyncio.run`, `async_to_sync` and Django's ORM refuse to
work there. So event loops run on OS threads, and a `Mailbox` takes what they have to say to
greenlets.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from math import inf
from queue import Empty, SimpleQueue
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")

# OS threads for what a loop under gevent hands to an executor, such as `asyncio.to_thread`.
EXECUTOR_THREADS = 32


def green_threads() -> Literal["", "gevent", "eventlet"]:
    """The library whose greenlets stand in for Python's threads in this process, if any."""
    # Not kombu's detect_environment(): it keeps its first answer, and gunicorn patches later.
    gevent: Any = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return "gevent"
    eventlet: Any = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return "eventlet"
    return ""


def start_os_thread(name: str, call: Callable[[], object]) -> None:
    """Call it in a new daemon thread of the operating system."""
    green = green_threads()
    if green == "gevent":
        from gevent.monkey import get_original

        get_original("_thread", "start_new_thread")(call, ())
        return
    thread: Any = threading
    if green == "eventlet":
        from eventlet.patcher import original

        thread = original("threading")
    thread.Thread(target=call, name=name, daemon=True).start()


def os_thread_ident() -> int:
    """This OS thread's key in `sys._current_frames()`."""
    if green_threads() == "gevent":
        from gevent.monkey import get_original

        return int(get_original("_thread", "get_ident")())
    if green_threads() == "eventlet":
        from eventlet.patcher import original

        threads: Any = original("threading")
        return int(threads.get_ident())
    return threading.get_ident()


def os_lock() -> Any:
    """A lock that blocks the whole thread, whatever has been patched."""
    green = green_threads()
    if green == "gevent":
        from gevent.monkey import get_original

        return get_original("_thread", "allocate_lock")()
    if green == "eventlet":
        from eventlet.patcher import original

        threads: Any = original("threading")
        return threads.Lock()
    return threading.Lock()


class Mailbox(Generic[T]):
    """A queue into which any thread may put, for one thread or greenlet that waits for it."""

    def __init__(self) -> None:
        self._green = green_threads()
        self._plain: SimpleQueue[T] = SimpleQueue()
        self._items: deque[T] = deque()
        self._wake: Wake | None = None
        self._wait: Wait | None = None

    def put(self, item: T) -> None:
        """Add an item. Safe in every thread and in signal handlers."""
        if not self._green:
            self._plain.put(item)
            return
        self._items.append(item)
        # In this order: whoever sets `_wake` looks at the items afterwards.
        if self._wake is not None:
            self._wake()

    def get(self, timeout: float | None = None) -> T:
        """Wait for the next item, `timeout` seconds at most.

        Raises:
            queue.Empty: none came in time.
        """
        if not self._green:
            if timeout is not None and timeout <= 0:
                return self._plain.get_nowait()
            return self._plain.get(timeout=timeout)
        if self._wait is None:
            prepare = _gevent_wait if self._green == "gevent" else _eventlet_wait
            self._wake, self._wait = prepare()
        deadline = inf if timeout is None else time.monotonic() + timeout
        while not self._items:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Empty
            self._wait(None if left == inf else left)
        return self._items.popleft()


Wake = Callable[[], object]
Wait = Callable[[float | None], object]


def _gevent_wait() -> tuple[Wake, Wait]:
    """How to wake the calling greenlet from any thread, and how it waits for that."""
    import gevent
    from gevent.event import Event

    rung = Event()
    loop: Any = gevent.get_hub().loop

    def wait(timeout: float | None) -> None:
        rung.wait(timeout)
        rung.clear()

    return functools.partial(loop.run_callback_threadsafe, rung.set), wait


def _eventlet_wait() -> tuple[Wake, Wait]:
    rung = threading.Event()
    bells = _EventletBells.of_process()

    def wait(timeout: float | None) -> None:
        rung.wait(timeout)
        rung.clear()

    return functools.partial(bells.ring, rung), wait


class _EventletBells:
    """Sets events of green threads for other threads, which eventlet itself has no means for."""

    _of_process: _EventletBells | None = None

    def __init__(self) -> None:
        import eventlet
        from eventlet.patcher import original

        self.pid = os.getpid()
        system: Any = original("os")
        self._write = system.write
        self._rung: deque[threading.Event] = deque()
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        os.set_blocking(self._write_end, False)
        eventlet.spawn(self._run)

    @classmethod
    def of_process(cls) -> _EventletBells:
        if cls._of_process is None or cls._of_process.pid != os.getpid():
            cls._of_process = cls()
        return cls._of_process

    def ring(self, event: threading.Event) -> None:
        self._rung.append(event)
        # A pipe that is full has not been read yet.
        with contextlib.suppress(BlockingIOError):
            self._write(self._write_end, b".")

    def _run(self) -> None:
        from eventlet.hubs import trampoline

        while True:
            trampoline(self._read_end, read=True)
            os.read(self._read_end, 4096)
            while self._rung:
                self._rung.popleft().set()


class _LoopThread:
    """An event loop, and the OS thread that runs it.

    One for all tasks, because a shared async client must not outlive the loop it was first used on
    (a loop for each task breaks it: "Event loop is closed").
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop: asyncio.AbstractEventLoop
        # Not a mailbox: other greenlets may not ask for the loop before it is there.
        made = os_lock()
        made.acquire()
        start_os_thread("stream-loop", functools.partial(self._run, made))
        made.acquire()

    def _run(self, made: Any) -> None:
        self.loop = _new_loop()
        made.release()
        # For these two asyncio leaves the loop. They are for the task that raised them, which gets
        # them as any other error; the generators of the others go on.
        while True:
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                self.loop.run_forever()


def _new_loop() -> asyncio.AbstractEventLoop:
    if green_threads() != "gevent":
        return asyncio.new_event_loop()
    from gevent.selectors import GeventSelector

    # Greenlets that something starts in this thread run while the loop waits.
    loop = asyncio.SelectorEventLoop(GeventSelector())
    loop.set_default_executor(_OsThreadExecutor(EXECUTOR_THREADS))
    return loop


class _OsThreadExecutor(ThreadPoolExecutor):
    """Python's under gevent would run in greenlets of the loop's thread, and hold up the loop."""

    def __init__(self, threads: int) -> None:
        from gevent.threadpool import ThreadPool

        super().__init__(threads)
        self._pool = ThreadPool(threads)

    def submit(self, call: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                value = call(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(value)

        self._pool.spawn(run)
        return future


_loop: _LoopThread | None = None
_loop_lock = threading.Lock()


def loop_thread() -> asyncio.AbstractEventLoop:
    """Return this process' event loop, which runs on an OS thread; started when first needed."""
    global _loop
    with _loop_lock:
        # A loop thread does not survive a fork.
        if _loop is None or _loop.pid != os.getpid():
            _loop = _LoopThread()
        return _loop.loop
