"""The sync reader's I/O over HTTP."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..events import Pause
from ..inbox import Inbox
from .httpx_helpers import (
    answer_of,
    connected,
    errors,
    failure_of,
    is_body_wanted,
    load_httpx,
    moved_to,
    socket_of,
    timeout,
)
from .session import AskToken, Look, Open, Receive, Session, Source

if TYPE_CHECKING:
    import httpx

GetToken = Callable[[], str]


class SyncHttp:
    """Carries out what a `Session` asks for.

    Args:
        source: where the stream is.
        session: decides.
        inbox: to see whether the reading is over.
        client: the user's own, left open; else one is made.
        get_token: asked for tokens.

    Raises:
        MissingDependencyError: httpx is not installed.
    """

    def __init__(
        self,
        source: Source,
        session: Session,
        inbox: Inbox[Any],
        client: httpx.Client | None,
        get_token: GetToken | None,
    ) -> None:
        self._httpx = load_httpx()
        self._source = source
        self._session = session
        self._inbox = inbox
        self._client: httpx.Client = client or self._httpx.Client()
        self._own = client is None
        self._get_token = get_token
        self._response: httpx.Response | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._awake = threading.Event()
        # What a step may wait for: also before there is a response. Of the user's client only while
        # it is ours.
        self._socket: Any = None

    def advance(self) -> None:
        """Do one step of reading."""
        match self._session.next():
            case Pause(seconds):
                self._awake.wait(seconds)
            case AskToken():
                self._ask_token()
            case Open(url, headers):
                self._open(url, headers)
            case Look(url, headers):
                self._look(url, headers)
            case Receive():
                self._receive()

    def wake(self) -> None:
        """From another thread: end the waiting of a step under way, whose reading is over."""
        self._awake.set()
        connection = self._socket
        if connection is not None:
            # Closing it would not end a read that waits; this does.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give up the connection."""
        self._hang_up()
        if self._own:
            self._client.close()

    def stop(self) -> None:
        """Ask the relay to stop the task.

        Raises:
            StreamError: it refuses, or does not answer.
        """
        url = self._source.stop_url
        # The reader's own client may be closed by now, and is busy in another thread perhaps.
        client = self._httpx.Client() if self._own else self._client
        try:
            response = self._post(client, url)
            if response.status_code == 401 and self._get_token is not None:
                self._session.token(self._get_token())
                response = self._post(client, url)
        except errors() as cause:
            raise self._session.unanswered(failure_of(cause)) from cause
        finally:
            if self._own:
                client.close()
        error = self._session.stopped(answer_of(response, response.content))
        if error is not None:
            raise error

    def _post(self, client: httpx.Client, url: str) -> httpx.Response:
        headers = self._session.headers
        response = client.post(url, headers=headers, timeout=timeout(), follow_redirects=True)
        if moved := moved_to(response, url):
            response = client.post(moved, headers=headers, timeout=timeout())
        return response

    def _ask_token(self) -> None:
        assert self._get_token is not None
        try:
            self._session.token(self._get_token())
        except Exception as error:
            self._session.token_failed(error)

    def _open(self, url: str, headers: dict[str, str]) -> None:
        request = self._client.build_request(
            "GET", url, headers=headers, timeout=timeout(), extensions={"trace": self._trace}
        )
        try:
            response = self._client.send(request, stream=True, follow_redirects=True)
            self._response = response
            self._use(socket_of(response.extensions))
            body = response.read() if is_body_wanted(response) else b""
        except errors() as error:
            self._hang_up()
            self._session.failed(failure_of(error))
            return
        except BaseException:
            self._hang_up()
            raise
        self._pieces = response.iter_bytes()
        try:
            self._session.answered(answer_of(response, body))
        finally:
            self._tidy()

    def _look(self, url: str, headers: dict[str, str]) -> None:
        request = self._client.build_request(
            "HEAD", url, headers=headers, timeout=timeout(), extensions={"trace": self._trace}
        )
        try:
            response = self._client.send(request, follow_redirects=True)
        except errors() as error:
            self._session.failed(failure_of(error))
        except BaseException:
            self._session.interrupted()
            raise
        else:
            self._session.described(answer_of(response))
        finally:
            self._tidy()

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        self._use(connected(event, info))

    def _use(self, connection: Any) -> None:
        if connection is None:
            return
        self._socket = connection
        if self._inbox.over:
            self.wake()  # it was called before there was this socket

    def _receive(self) -> None:
        try:
            data = next(self._pieces, None)
        except errors() as error:
            self._session.failed(failure_of(error))
        except BaseException:
            self._session.interrupted()
            raise
        else:
            if data is None:
                self._session.finished()
            else:
                self._session.received(data)
        finally:
            self._tidy()

    def _tidy(self) -> None:
        """Hang up once the session reads no more of this response."""
        if self._inbox.over or not self._session.reading:
            self._hang_up()

    def _hang_up(self) -> None:
        response, self._response = self._response, None
        self._pieces = iter(())
        if not self._own:
            self._socket = None
        if response is not None:
            response.close()
