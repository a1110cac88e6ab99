"""The async reader's I/O with the relay itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from ...errors import ConfigurationError, RelayUnavailableError
from ...relays import AsyncRelay
from ...relays.base import Watcher
from ...relays.requests import Read, Stop
from ..events import Pause
from .many import Due, ManyInbox, Part
from .session import AskReap, Await, LogSession

OnStop = Callable[[], object]


class AsyncLog:
    """Carries out what a `LogSession` asks for; arguments as `SyncLog`."""

    def __init__(
        self,
        session: LogSession,
        relay: AsyncRelay,
        stream_id: str,
        *,
        owned: bool,
        on_stop: OnStop | None = None,
    ) -> None:
        self._session = session
        self._relay = relay
        self._stream_id = stream_id
        self._owned = owned
        self._on_stop = on_stop
        self._news = asyncio.Event()
        self._watcher: Watcher | None = None
        self._subscribed = False

    async def advance(self) -> None:
        """Do one step of reading."""
        if not self._subscribed:
            # Before the first read: whatever is written after that read is in a notice.
            news = self._news  # not self, which nothing must keep alive
            self._watcher = self._watcher or self._relay.watch(lambda *_: news.set(), news.set)
            await self._watcher.subscribe(self._stream_id)
            self._subscribed = True
        session = self._session
        action = session.next()
        try:
            match action:
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                case Await(seconds):
                    await self._wait(seconds)
                case Read():
                    session.absorb((await self._relay.read([action]))[0])
                case AskReap():
                    answer = (await self._relay.execute([session.reap]))[0]
                    session.reaped(answer)
        except RelayUnavailableError as error:
            session.unavailable(error)

    async def stop(self) -> None:
        """Ask for the task to be stopped.

        Raises:
            RelayUnavailableError: the relay does not answer, or refuses.
        """
        answer = (await self._relay.execute([Stop(self._stream_id)]))[0]
        if answer.kind == "error":
            raise RelayUnavailableError(f"the stream store refused to stop: {answer.message}")
        if answer.kind == "asked" and self._on_stop is not None:
            # A control message to the workers, over Celery's own connection.
            await asyncio.get_running_loop().run_in_executor(None, self._on_stop)

    async def close(self) -> None:
        """Give up connections."""
        if self._watcher is not None:
            await self._watcher.close()
        if self._owned:
            await self._relay.close()

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except asyncio.TimeoutError:
            return
        self._news.clear()


class AsyncMany:
    """As `SyncMany`, on an event loop.

    Args:
        log: reads the log.
        inbox: of the log.
        relay: where they are.
        owned: the relay is the reader's, to be closed with it.
    """

    def __init__(self, log: Part, inbox: ManyInbox, relay: AsyncRelay, *, owned: bool) -> None:
        self._due = Due(log, inbox)
        self._log = log
        self._inbox = inbox
        self._relay = relay
        self._owned = owned
        self._news = asyncio.Event()
        self._watcher: Watcher | None = None

    async def advance(self) -> None:
        """Do what is due, or wait for it."""
        while self._inbox.left:
            self._heard().unsubscribe(self._inbox.left.pop().name)
        due = list(self._due.actions())
        if not due:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), self._due.seconds())
            self._news.clear()
            return
        try:
            for part, _ in due:
                if not part.subscribed:
                    await self._heard().subscribe(part.name)
                    part.subscribed = True
                part.news = False
            reads = [(part, action) for part, action in due if isinstance(action, Read)]
            pages = await self._relay.read([action for _, action in reads])
            for (part, _), page in zip(reads, pages, strict=True):
                part.session.absorb(page)
            for part, action in due:
                if not isinstance(action, Read):
                    (answer,) = await self._relay.execute([part.session.reap])
                    part.session.reaped(answer)
        except RelayUnavailableError as error:
            for part, _ in due:
                part.session.unavailable(error)

    async def stop(self) -> None:
        """A conversation does not end."""
        raise ConfigurationError("a conversation's log is not stopped: stop its streams")

    async def close(self) -> None:
        """Give up connections."""
        if self._watcher is not None:
            await self._watcher.close()
        if self._owned:
            await self._relay.close()

    def _heard(self) -> Watcher:
        if self._watcher is None:
            log, inbox, news = self._log, self._inbox, self._news

            def ring() -> None:
                # Which stream it was is not always said; a look costs little.
                for part in (log, *inbox.streams.values()):
                    part.news = True
                news.set()

            def notice(stream_id: str, _: object) -> None:
                part = inbox.streams.get(stream_id, log)
                part.news = True
                news.set()

            self._watcher = self._relay.watch(notice, ring)
        return self._watcher
