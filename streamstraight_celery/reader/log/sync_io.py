"""The sync reader's I/O with the relay itself, and the thread that listens for notices."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from ...errors import RelayUnavailableError
from ...relays import AsyncRelay, Relay
from ...relays.base import Notice
from ...relays.requests import Read, Stop
from ..events import Pause
from .session import AskReap, Await, LogSession

OnStop = Callable[[], object]


class Bell:
    """Rings when there may be news; without anybody to ring it, a wait takes its whole time."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self) -> None:
        self._rung.set()

    def wait(self, seconds: float) -> None:
        """Return when it has rung since the last wait, or the time is over."""
        self._rung.wait(seconds)
        self._rung.clear()

    def close(self) -> None:
        """Nobody waits any more."""


class NoticeBell(Bell):
    """Rings at each notice of one stream, heard on an event loop in a thread of its own.

    Args:
        open_relay: makes the relay that is listened to.
        stream_id: the stream.

    Raises:
        StreamError: the relay cannot be listened to, for example because hiredis is missing.
    """

    def __init__(self, open_relay: Callable[[], AsyncRelay], stream_id: str) -> None:
        super().__init__()
        self._open_relay = open_relay
        self._stream_id = stream_id
        self._error: BaseException | None = None
        self._listening = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event
        self._thread = threading.Thread(
            target=self._run, name=f"stream-notices-{stream_id}", daemon=True
        )
        self._thread.start()
        self._listening.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error

    def close(self) -> None:
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._listen())
        except Exception as error:
            self._error = error
        finally:
            self._listening.set()

    async def _listen(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        relay = self._open_relay()
        try:
            watcher = relay.watch(self._on_notice, self.ring)
            try:
                await watcher.subscribe(self._stream_id)
                self._listening.set()
                await self._over.wait()
            finally:
                await watcher.close()
        finally:
            await relay.close()

    def _on_notice(self, stream_id: str, notice: Notice) -> None:
        self.ring()


class SyncLog:
    """Carries out what a `LogSession` asks for.

    Args:
        session: decides.
        relay: where the log is.
        stream_id: the stream.
        bell: what to wait for.
        owned: the relay is the reader's, to be closed with it.
        on_stop: told when a living producer was asked to stop.
    """

    def __init__(
        self,
        session: LogSession,
        relay: Relay,
        stream_id: str,
        bell: Bell,
        *,
        owned: bool,
        on_stop: OnStop | None = None,
    ) -> None:
        self._session = session
        self._relay = relay
        self._stream_id = stream_id
        self._bell = bell
        self._owned = owned
        self._on_stop = on_stop

    def advance(self) -> None:
        """Do one step of reading."""
        session = self._session
        action = session.next()
        try:
            match action:
                case Pause(seconds) | Await(seconds):
                    self._bell.wait(seconds)
                case Read():
                    session.absorb(self._relay.read(action))
                case AskReap():
                    session.reaped(self._relay.call(session.reap))
        except RelayUnavailableError as error:
            session.unavailable(error)

    def wake(self) -> None:
        """From another thread: end the waiting of a step under way."""
        self._bell.ring()

    def stop(self) -> None:
        """Ask for the task to be stopped.

        Raises:
            RelayUnavailableError: the relay does not answer.
        """
        answer = self._relay.call(Stop(self._stream_id))
        if answer.kind == "asked" and self._on_stop is not None:
            self._on_stop()

    def close(self) -> None:
        """Give up connections."""
        self._bell.close()
        if self._owned:
            self._relay.close()
