"""The async reader's I/O over HTTP."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ..events import Pause
from ..inbox import Inbox
from .httpx_helpers import (
    answer_of,
    errors,
    failure_of,
    is_body_wanted,
    load_httpx,
    moved_to,
    timeout,
)
from .session import AskToken, Look, Open, Receive, Session, Source

if TYPE_CHECKING:
    import httpx

AsyncGetToken = Callable[[], Awaitable[str] | str]


class AsyncHttp:
    """Carries out what a `Session` asks for; arguments as `SyncHttp`.

    Raises:
        MissingDependencyError: httpx is not installed.
    """

    def __init__(
        self,
        source: Source,
        session: Session,
        inbox: Inbox[Any],
        client: httpx.AsyncClient | None,
        get_token: AsyncGetToken | None,
    ) -> None:
        self._httpx = load_httpx()
        self._source = source
        self._session = session
        self._inbox = inbox
        self._client: httpx.AsyncClient = client or self._httpx.AsyncClient()
        self._own = client is None
        self._get_token = get_token
        self._response: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None

    async def advance(self) -> None:
        """Do one step of reading."""
        match self._session.next():
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case AskToken():
                await self._ask_token()
            case Open(url, headers):
                await self._open(url, headers)
            case Look(url, headers):
                await self._look(url, headers)
            case Receive():
                await self._receive()

    async def close(self) -> None:
        """Give up the connection."""
        await self._hang_up()
        if self._own:
            await self._client.aclose()

    async def stop(self) -> None:
        """Ask the relay to stop the task.

        Raises:
            StreamError: it refuses, or does not answer.
        """
        url = self._source.stop_url
        # The reader's own client may be closed by now.
        client = self._httpx.AsyncClient() if self._own else self._client
        try:
            response = await self._post(client, url)
            if response.status_code == 401 and self._get_token is not None:
                self._session.token(await self._new_token())
                response = await self._post(client, url)
        except errors() as cause:
            raise self._session.unanswered(failure_of(cause)) from cause
        finally:
            if self._own:
                await client.aclose()
        error = self._session.stopped(answer_of(response, response.content))
        if error is not None:
            raise error

    async def _post(self, client: httpx.AsyncClient, url: str) -> httpx.Response:
        headers = self._session.headers
        response = await client.post(url, headers=headers, timeout=timeout(), follow_redirects=True)
        if moved := moved_to(response, url):
            response = await client.post(moved, headers=headers, timeout=timeout())
        return response

    async def _new_token(self) -> str:
        assert self._get_token is not None
        token = self._get_token()
        return await token if inspect.isawaitable(token) else token

    async def _ask_token(self) -> None:
        try:
            self._session.token(await self._new_token())
        except Exception as error:
            self._session.token_failed(error)

    async def _open(self, url: str, headers: dict[str, str]) -> None:
        request = self._client.build_request("GET", url, headers=headers, timeout=timeout())
        try:
            response = await self._client.send(request, stream=True, follow_redirects=True)
            self._response = response
            body = await response.aread() if is_body_wanted(response) else b""
        except errors() as error:
            await self._hang_up()
            self._session.failed(failure_of(error))
            return
        except BaseException:
            await self._hang_up()
            raise
        self._pieces = response.aiter_bytes()
        try:
            self._session.answered(answer_of(response, body))
        finally:
            await self._tidy()

    async def _look(self, url: str, headers: dict[str, str]) -> None:
        request = self._client.build_request("HEAD", url, headers=headers, timeout=timeout())
        try:
            response = await self._client.send(request, follow_redirects=True)
        except errors() as error:
            self._session.failed(failure_of(error))
        except BaseException:
            self._session.interrupted()
            raise
        else:
            self._session.described(answer_of(response))
        finally:
            await self._tidy()

    async def _receive(self) -> None:
        assert self._pieces is not None
        try:
            data = await anext(self._pieces, None)
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
            await self._tidy()

    async def _tidy(self) -> None:
        """Hang up once the session reads no more of this response."""
        if self._inbox.over or not self._session.reading:
            await self._hang_up()

    async def _hang_up(self) -> None:
        response, self._response = self._response, None
        self._pieces = None
        if response is not None:
            await response.aclose()
