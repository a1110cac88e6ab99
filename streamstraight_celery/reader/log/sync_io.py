"""The sync reader's I/O with the stream store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from queue import Empty
from typing import Protocol

from ...errors import ConfigurationError, RelayUnavailableError
from ...os_threads import Mailbox
from ...relays.base import Page
from ...relays.requests import Answer, Read, Request, Stop
from ..events import Pause
from .many import Due, ManyInbox, Part
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


class Log(Protocol):
    """What a reader needs of a store."""

    def read(self, read: Read) -> Page | None:
        """As `Relay.read`."""
        ...

    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        """As `Relay.execute`."""
        ...

    def close(self) -> None:
        """Give up connections."""


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
        relay: Log,
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
                    session.reaped(self._call(session.reap))
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
        answer = self._call(Stop(self._stream_id))
        if answer.kind == "asked" and self._on_stop is not None:
            self._on_stop()

    def close(self) -> None:
        """Give up connections."""
        if self._owned:
            self._relay.close()

    def _call(self, request: Request) -> Answer:
        answer = self._relay.execute([request])[0]
        if answer.kind == "error":
            raise RelayUnavailableError(f"the stream store refused: {answer.message}")
        return answer


class SyncMany:
    """Carries out what the sessions of a conversation's log and its streams ask for.

    Args:
        log: reads the log.
        inbox: of the log.
        relay: where they are.
        bell: what to wait for.
        subscribe: called before a stream is read first, so that news of it are heard.
        unsubscribe: called when it is read no more.
        owned: the relay is the reader's, to be closed with it.
    """

    def __init__(
        self,
        log: Part,
        inbox: ManyInbox,
        relay: Log,
        bell: Bell,
        *,
        subscribe: Callable[[Part], object] = bool,
        unsubscribe: Callable[[Part], object] = bool,
        owned: bool,
    ) -> None:
        self._due = Due(log, inbox)
        self._inbox = inbox
        self._relay = relay
        self._bell = bell
        self._subscribe = subscribe
        self._unsubscribe = unsubscribe
        self._owned = owned

    def advance(self) -> None:
        """Do what is due, or wait for it."""
        while self._inbox.left:
            self._unsubscribe(self._inbox.left.pop())
        acted = False
        for part, action in self._due.actions():
            acted = True
            try:
                if not part.subscribed:
                    self._subscribe(part)
                    part.subscribed = True
                part.news = False
                if isinstance(action, Read):
                    part.session.absorb(self._relay.read(action))
                else:
                    (answer,) = self._relay.execute([part.session.reap])
                    part.session.reaped(answer)
            except RelayUnavailableError as error:
                part.session.unavailable(error)
        if not acted:
            self._bell.wait(self._due.seconds())

    def wake(self) -> None:
        """From another thread: end the waiting of a step under way."""
        self._bell.ring()

    def stop(self) -> None:
        """A conversation does not end."""
        raise ConfigurationError("a conversation's log is not stopped: stop its streams")

    def close(self) -> None:
        """Give up connections."""
        if self._owned:
            self._relay.close()
