"""The sync reader's I/O with the relay itself, and the thread that listens for notices."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from queue import Empty

from ...errors import RelayUnavailableError
from ...os_threads import Mailbox, loop_thread
from ...relays import AsyncRelay, Relay
from ...relays.base import Notice
from ...relays.requests import Read, Stop
from ..events import Pause
from .session import AskReap, Await, LogSession

OnStop = Callable[[], object]


class Bell:
    """Rings when there may be news; without anybody to ring it, a wait takes its whole time."""

    def __init__(self) -> None:
        self._rung: Mailbox[None] = Mailbox()
        self._ringing = False

    def ring(self) -> None:
        """Wake the reader. Safe in any thread."""
        if not self._ringing:
            self._ringing = True
            self._rung.put(None)

    def wait(self, seconds: float) -> None:
        """Return when it has rung since the last wait, or the time is over."""
        with contextlib.suppress(Empty):
            self._rung.get(seconds)
        self._ringing = False

    def close(self) -> None:
        """Nobody waits any more."""


class NoticeBell(Bell):
    """Rings at each notice of one stream, heard on the process' event loop.

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
        self._loop = loop_thread()
        self._over = asyncio.Event()
        # An error that prevents it, then the end.
        self._listening: Mailbox[BaseException | None] = Mailbox()
        asyncio.run_coroutine_threadsafe(self._run(), self._loop)
        error = self._listening.get()
        if error is not None:
            raise error

    def close(self) -> None:
        """Stop listening; returns when the connection is closed."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._listening.get()

    async def _run(self) -> None:
        error: BaseException | None = None
        try:
            await self._listen()
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._listening.put(error)

    async def _listen(self) -> None:
        relay = self._open_relay()
        try:
            watcher = relay.watch(self._on_notice, self.ring)
            try:
                await watcher.subscribe(self._stream_id)
                self._listening.put(None)
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
