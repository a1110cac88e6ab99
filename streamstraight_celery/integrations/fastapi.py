"""FastAPI: `Streams(celery_app, permission=...)` gives a router, a relay to mount, a lifespan.

`respond(stream, request)` is the answer of a route of your own.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from celery import Celery

from ..enqueue.handle import StreamHandle, StreamLink
from ..errors import MissingDependencyError, StreamError
from ..publishing.publication import Chunks
from ..publishing.publish import Publication, PublishOptions, amake, end_publications
from ..runtime import Runtime
from ..server.http import Receive, Scope, Send, request_of
from ..server.own_routes.answer import serve
from ..server.own_routes.sockets import serve_socket
from .answers import (
    FOREIGN,
    Answer,
    attempted,
    error_answer,
    is_foreign,
    is_remembered,
    own_stream,
    resume_answer,
    stop_answer,
    token_answer,
)
from .answers import remember as _remember
from .hubs import asked, hubs_of
from .middlewares import warn_of_middlewares

try:
    from fastapi import APIRouter, BackgroundTasks, Depends, HTTPException, Request
    from fastapi.responses import JSONResponse, Response
    from starlette.background import BackgroundTask
    from starlette.concurrency import run_in_threadpool
    from starlette.websockets import WebSocket, WebSocketDisconnect
except ImportError as error:
    raise MissingDependencyError("FastAPI", "fastapi") from error

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..server import RelayApp
    from ..server.own_routes.options import Options

Permission = Callable[..., Any]
OnMessage = Callable[[Any], Any]


def session_permission(request: Request, stream_id: str) -> bool:
    """The default permission: the streams that the session remembers; none without sessions."""
    return is_remembered(request.scope.get("session"), stream_id)


def remember(request: Request, stream: StreamLink) -> None:
    """Note in the visitor's session that this stream is theirs (needs `SessionMiddleware`)."""
    _remember(request.session, stream.id)


class Streams:
    """Streams in one FastAPI (or Starlette) application.

    Args:
        celery_app: the Celery app whose streams these are.
        permission: a FastAPI dependency that gets `stream_id` from the path and returns whether who
            asks may have that stream; only `True` allows it.

    Attributes:
        own: a dependency that gives the handle of the stream `stream_id` of the path, or 404.
        router: `GET /{stream_id}/token` and `POST /{stream_id}/stop`.

    Raises:
        ConfigurationError: a `stream_*` setting is wrong, or `stream_secret` is missing or easy to
            guess.
    """

    def __init__(self, celery_app: Celery, *, permission: Permission = session_permission) -> None:
        self.celery_app = celery_app
        runtime = Runtime.of(celery_app)
        runtime.check_tokens()
        self._settings = runtime.settings
        self._relay: RelayApp | None = None
        self.own = _own(celery_app, permission)
        self.router = self._router()

    @property
    def relay(self) -> RelayApp:
        """The relay server: `api.mount("/relay", streams.relay)`, made when it is asked for."""
        if self._relay is None:
            from ..server import relay_app

            self._relay = relay_app(self.celery_app, hubs=hubs_of(self.celery_app))
        return self._relay

    @contextlib.asynccontextmanager
    async def lifespan(self, api: Any = None) -> AsyncIterator[None]:
        """`FastAPI(lifespan=streams.lifespan)`, or inside of your own: `async with`.

        At the end it closes the relay's connections, and ends what this process publishes. At the
        start it warns of the application's middlewares that would keep answers from readers.
        """
        if self._relay is not None:
            warn_of_middlewares(api)
            self._relay.start()
        try:
            yield
        finally:
            await run_in_threadpool(end_publications)
            if self._relay is not None:
                await self._relay.close()
            await hubs_of(self.celery_app).close()

    async def resume(self, key: str, *, have: str | None = None) -> Response:
        """Answer `GET /<chat>/stream` of `useChat`: a redirect to its latest stream, or 204.

        Whether the visitor may read that conversation is for the route to decide first.

        Args:
            key: the conversation's, as in `apply_stream(key=...)`.
            have: the id of the stream whose whole answer the page already shows: if that one is the
                latest, 204. Any other stream that has ended is replayed.
        """
        answer = lambda: resume_answer(key, have, self.celery_app)  # noqa: E731
        return as_response(await run_in_threadpool(attempted, answer))

    async def publish_after(
        self, background: BackgroundTasks, chunks: Chunks, **options: Unpack[PublishOptions]
    ) -> Publication:
        """Announce a stream now, and produce it when the response is out.

        Options and errors as `streamstraight_celery.prepare`.
        """
        publication = await amake(Publication, chunks, {"app": self.celery_app, **options})
        background.add_task(publication.arun)
        return publication

    def _router(self) -> APIRouter:
        router = APIRouter(tags=["streams"])
        origins = self._settings.allowed_origins

        own: Any = Depends(self.own)

        def token(stream: StreamHandle = own) -> Response:
            return as_response(attempted(lambda: token_answer(stream)))

        def stop(request: Request, stream: StreamHandle = own) -> Response:
            if is_foreign(request.headers, origins):
                return as_response(FOREIGN)
            return as_response(attempted(lambda: stop_answer(stream)))

        router.add_api_route("/{stream_id}/token", token, response_model=None)
        router.add_api_route("/{stream_id}/stop", stop, methods=["POST"], response_model=None)
        return router


class StreamResponse(Response):
    """What `respond` returns: it looks the stream up when it is sent."""

    def __init__(self, stream: StreamLink | str, options: Mapping[str, Any]) -> None:
        self._asked = asked(stream, options)
        self.status_code = 200
        self.background: BackgroundTask | None = None
        self.init_headers(None)  # for cookies and headers that the route adds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hubs, stream_id, wanted = self._asked
        added = tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in self.raw_headers
        )
        await serve(hubs, stream_id, request_of(scope), wanted, receive, send, added=added)
        if self.background is not None:
            await self.background()


def respond(
    stream: StreamLink | str, request: Request, **options: Unpack[Options]
) -> StreamResponse:
    """Answer with a stream, as server-sent events: `return respond(handle, request)`.

    For `def` and `async def` routes; it does not block. Whether the visitor may read the stream is
    for the route to decide first. The reader resumes by `Last-Event-ID`, or by `?offset=` with the
    id of the last event it has; a stream that has ended is replayed. The response has the stream's
    id as `X-Stream-Id`.

    Args:
        stream: a handle, or a stream's id.
        request: the route's.
        **options: `event`, `envelope`, `headers`, `offset`, `ping`, `app`.

    Raises:
        ConfigurationError: an option or a setting is wrong.
        MalformedOffsetError: `offset` is not an offset.
        TypeError: `stream` is neither a handle nor an id.
    """
    return StreamResponse(stream, options)


async def respond_websocket(
    stream: StreamLink | str,
    websocket: WebSocket,
    *,
    close: bool = True,
    on_message: OnMessage | None = None,
    **options: Unpack[Options],
) -> str:
    """Send a stream on a WebSocket that the route has accepted.

    One text message a chunk: `{"type": "chunk", "id", "data"}`, or what the envelope returns. The
    last one is `{"type": "end", "id", "reason"}`, `{"type": "failed", "id", "error"}` or
    `{"type": "reset", "error"}`. A client that comes back asks for `?offset=` and the last `id`.

    Args:
        stream: a handle, or a stream's id.
        websocket: accepted.
        close: close it at the end: with 1000 after a good end, else with 1011 (failed, lost), 4410
            (a newer attempt: read again), 4404, 4400, 1012 (the server restarts) or 1013 (the
            stream store does not answer). False: for the next stream.
        on_message: called with each message (`str` or `bytes`) that comes meanwhile.
        **options: `envelope`, `offset`, `app`.

    Returns:
        The end reason, or the code of what prevented reading; `""`: the client has left.

    Raises:
        ConfigurationError, MalformedOffsetError, TypeError: as `respond`.
    """
    hubs, stream_id, wanted = asked(stream, options)
    left = False

    async def receive() -> MutableMapping[str, Any]:
        nonlocal left
        while not left:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                left = True
                break
            if on_message is not None:
                text = message.get("text")
                heard = on_message(message.get("bytes") or b"" if text is None else text)
                if inspect.isawaitable(heard):
                    await heard
        return {"type": "http.disconnect"}

    async def send_text(text: str) -> None:
        nonlocal left
        if left:
            return
        try:
            await websocket.send_text(text)
        except WebSocketDisconnect:
            # The client has gone: another message would be a RuntimeError of Starlette's.
            left = True

    query = websocket.scope.get("query_string", b"").decode("latin-1")
    code, reason = await serve_socket(hubs, stream_id, query, wanted, receive, send_text)
    if close and code and not left:
        await websocket.close(code, reason)
    return "" if left else reason


def _own(celery_app: Celery, permission: Permission) -> Callable[..., StreamHandle]:
    def own(stream_id: str, allowed: object = Depends(permission)) -> StreamHandle:
        try:
            return own_stream(stream_id, allowed, celery_app)
        except StreamError as error:
            status, body, headers = error_answer(error)
            raise HTTPException(status, (body or {}).get("error"), headers) from None

    return own


def as_response(answer: Answer) -> Response:
    """As Starlette's response."""
    status, body, headers = answer
    if body is None:
        return Response(status_code=status, headers=headers)
    return JSONResponse(body, status_code=status, headers=headers)
