"""An ASGI application as the answer of an async Django view."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, StreamingHttpResponse

Message = dict[str, Any]


async def serve(
    app: Any, request: ASGIRequest, path: str | None = None
) -> HttpResponse | StreamingHttpResponse:
    """Let `app` answer the request, at `path`; its streaming responses stream.

    Raises:
        Exception: any error that `app` raised before it began to answer.
    """
    exchange = _Exchange(request)
    query = request.scope.get("query_string", b"")
    # Django's test client makes it a string, against the specification.
    scope = {**request.scope, "query_string": query.encode() if isinstance(query, str) else query}
    if path is not None:
        scope |= {"path": path, "raw_path": path.encode(), "root_path": ""}
    exchange.task = asyncio.ensure_future(app(scope, exchange.receive, exchange.send))
    head = await exchange.next()
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head["headers"]}
    short = head["status"] in (204, 304) or request.method == "HEAD" or "content-length" in headers
    response: HttpResponse | StreamingHttpResponse
    if short:
        body = b"".join([part async for part in exchange.body()])
        response = HttpResponse(body, status=head["status"], headers=headers)
        if "content-type" not in headers:
            del response["Content-Type"]
        return response
    return StreamingHttpResponse(exchange, status=head["status"], headers=headers)


PART = 64 * 1024


class _IncompleteError(Exception):
    """The application returned before its answer was complete."""


class _Exchange:
    """What passes between the application and Django: one message at a time."""

    task: asyncio.Future[None]

    def __init__(self, request: ASGIRequest) -> None:
        self._request: ASGIRequest | None = request
        self._loop = asyncio.get_running_loop()
        self._gone = asyncio.Event()
        # The application waits until Django has sent what is there: a slow reader is its to judge.
        self._messages: asyncio.Queue[Message] = asyncio.Queue(1)

    async def receive(self) -> Message:
        # Not `request.body`: Django refuses there what DATA_UPLOAD_MAX_MEMORY_SIZE does not allow,
        # and the limits of streams are ours.
        if self._request is not None:
            part = self._request.read(PART)
            if not part:
                self._request = None
            return {"type": "http.request", "body": part, "more_body": bool(part)}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self._messages.put(message)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.body()

    def close(self) -> None:
        """Called by Django, on a thread, when the response is over, however it ended."""
        self._loop.call_soon_threadsafe(self.leave)

    def leave(self) -> None:
        """The client has gone, or has everything."""
        self._gone.set()
        self.task.cancel()

    async def next(self) -> Message:
        """The application's next message, or its error."""
        getting = asyncio.ensure_future(self._messages.get())
        try:
            both: set[asyncio.Future[Any]] = {getting, self.task}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                return getting.result()
            if not self._messages.empty():
                return self._messages.get_nowait()
            self.task.result()
            raise _IncompleteError("the application ended without its last message")
        finally:
            getting.cancel()

    async def body(self) -> AsyncIterator[bytes]:
        """The response's body; when it is not read to its end, the client has gone."""
        try:
            more = True
            while more:
                message = await self.next()
                more = message.get("more_body", False)
                if part := message.get("body", b""):
                    yield part
        except _IncompleteError:
            # Django leaves a response incomplete, and says nothing, when its task is cancelled.
            raise asyncio.CancelledError from None
        finally:
            self.leave()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task
