"""The relay server: an ASGI application."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celery import Celery

from ..errors import (
    ConfigurationError,
    RelayUnavailableError,
    StreamError,
    StreamNotFoundError,
)
from ..names import STOP_COMMAND, check_stream_id
from ..relays import open_async_relay
from ..relays.base import AsyncRelay, Stop
from ..settings import StreamSettings, read_settings
from . import durable
from .access import Access
from .connection import Message, Receive, Send, SseConnection
from .durable import Headers, Refused, Reply, Request
from .hub import Hub, HubOptions
from .log import redact_tokens
from .reading import Reading
from .static import static_file
from .wire import WIRE, Wire

logger = logging.getLogger(__name__)

Scope = Any
OnStop = Callable[[str], None]

MAX_AGE = 300.0
DRAIN_SECONDS = 3.0
QUIET_SECONDS = 10.0  # between two lines of the log about the same outage
STREAM = "/v1/stream/"
STOP = "/v1/stop/"


@dataclass(slots=True)
class Running:
    """What belongs to one event loop."""

    relay: AsyncRelay
    hub: Hub
    reading: Reading


class RelayApp:
    """Hands out streams over HTTP. Mountable: paths are relative to the scope's `root_path`.

    It starts at the first request of an event loop (or at `lifespan.startup`, when the server or
    framework delivers that).

    Args:
        settings: all of the `stream_*` settings.
        max_age: seconds after which a streaming response is closed, so that its reader comes back.
        on_stop: told the stream id when a stop is asked of a living producer, on a thread.
        open_relay: makes the relay; for tests.

    Raises:
        ConfigurationError: no secret.
    """

    def __init__(
        self,
        settings: StreamSettings,
        *,
        max_age: float = MAX_AGE,
        on_stop: OnStop | None = None,
        open_relay: Callable[[StreamSettings], AsyncRelay] = open_async_relay,
        hub_options: HubOptions | None = None,
    ) -> None:
        self.settings = settings
        self._access = Access(settings)
        self._max_age = max_age
        self._on_stop = on_stop
        self._open_relay = open_relay
        self._hub_options = hub_options or HubOptions.of(settings)
        self._quiet_until = 0.0
        self._running: dict[asyncio.AbstractEventLoop, Running] = {}
        redact_tokens()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # A streaming response keeps this frame for long, so it holds little.
            head, answer = await self._answer(scope)
            if isinstance(answer, SseConnection):
                await answer.serve(head.pop(), receive, send)
            else:
                await send(head.pop())
                await send({"type": "http.response.body", "body": answer, "more_body": False})
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})

    def start(self) -> Running:
        """What this event loop uses, made when there is none.

        Raises:
            ConfigurationError: the relay URL cannot be used.
        """
        loop = asyncio.get_running_loop()
        running = self._running.get(loop)
        if running is None:
            for other in [each for each in self._running if each.is_closed()]:
                del self._running[other]
            relay = self._open_relay(self.settings)
            hub = Hub(relay, self._hub_options)
            hub.start()
            reading = Reading(hub, self.settings, self._max_age)
            running = self._running[loop] = Running(relay, hub, reading)
        return running

    async def drain(self) -> None:
        """Close all streaming responses cleanly; their readers come back, here or elsewhere."""
        running = self._running.get(asyncio.get_running_loop())
        if running is not None:
            await running.reading.drain(DRAIN_SECONDS)

    async def close(self) -> None:
        """Drain, and give up all connections of this event loop."""
        await self.drain()
        running = self._running.pop(asyncio.get_running_loop(), None)
        if running is not None:
            await running.hub.close()
            await running.relay.close()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    self.start()
                except StreamError as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _answer(self, scope: Scope) -> tuple[list[Message], SseConnection | bytes]:
        """The head of the response, to be popped, and what follows it."""
        request = request_of(scope)
        reply: Reply | SseConnection
        try:
            wire = (scope.get("extensions") or {}).get(WIRE)
            reply = await self._route(request, wire)
        except Refused as refused:
            reply = refused.reply()
        except StreamNotFoundError:
            reply = durable.not_found().reply()
        except RelayUnavailableError as error:
            reply = self._unavailable(error)
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            reply = Refused(500, "internal", "the relay failed; its log says why").reply()
        common = self._access.headers(request)
        if isinstance(reply, SseConnection):
            return [start_message(200, (*durable.sse_headers(), *common))], reply
        head = start_message(reply.status, complete_headers(reply, common, request.method))
        return [head], b"" if request.method == "HEAD" else reply.body

    async def _route(self, request: Request, wire: Wire | None) -> Reply | SseConnection:
        if request.method == "OPTIONS":
            return self._access.preflight(request)
        if request.path.startswith(STREAM):
            return await self._stream(request, wire)
        if request.path.startswith(STOP):
            return await self._stop(request)
        if request.method not in durable.READ_METHODS:
            raise durable.method_not_allowed(durable.READ_METHODS)
        if request.path in ("/healthz", "/readyz"):
            if request.path == "/readyz":
                await self.start().relay.ping()
            return durable.json_reply(200, {"status": "ok"})
        found = static_file(request)
        if found is None:
            raise Refused(404, "not-found", "there is nothing here")
        return found

    async def _stream(self, request: Request, wire: Wire | None) -> Reply | SseConnection:
        if request.method not in durable.READ_METHODS:
            raise durable.method_not_allowed(durable.READ_METHODS)
        stream_id = stream_id_of(request, STREAM)
        grant = self._access.grant(request, stream_id, "read")
        call = durable.parse_read(request)
        reading = self.start().reading
        if request.method == "HEAD":
            return await reading.head(stream_id)
        if not call.live:
            return await reading.catch_up(stream_id, call)
        if call.live == "long-poll":
            return await reading.long_poll(stream_id, call)
        return await reading.stream(stream_id, call, grant.expires_at - time.time(), wire)

    async def _stop(self, request: Request) -> Reply:
        if request.method != "POST":
            raise durable.method_not_allowed(["POST"])
        stream_id = stream_id_of(request, STOP)
        self._access.grant(request, stream_id, "stop")
        answer = (await self.start().relay.execute([Stop(stream_id)]))[0]
        if answer.kind == "unknown":
            raise durable.not_found()
        if answer.kind == "error":
            raise RelayUnavailableError(f"the relay refused to stop: {answer.reason}")
        if answer.kind == "asked":
            asyncio.get_running_loop().run_in_executor(None, self._tell_of_stop, stream_id)
            return durable.json_reply(202, {"status": "asked"})
        return durable.json_reply(200, {"status": "ended", "endReason": answer.reason})

    def _unavailable(self, error: RelayUnavailableError) -> Reply:
        """503. The message names hosts, so it is for the log only, and not for each request."""
        now = time.monotonic()
        level = logging.WARNING if now >= self._quiet_until else logging.DEBUG
        logger.log(level, "%s", error)
        if level == logging.WARNING:
            self._quiet_until = now + QUIET_SECONDS
        after = (("retry-after", str(random.randint(1, 3))),)
        return Refused(503, error.code, "the relay's storage does not answer", after).reply()

    def _tell_of_stop(self, stream_id: str) -> None:
        try:
            if self._on_stop is not None:
                self._on_stop(stream_id)
        except Exception:
            # The producer learns of the stop from the relay as well, only a little later.
            logger.warning("workers could not be told of a stop", exc_info=True)


def create_app(settings: StreamSettings, **options: Any) -> RelayApp:
    """Return the relay server as an ASGI application; options as `RelayApp`."""
    return RelayApp(settings, **options)


def relay_app(app: Celery, **options: Any) -> RelayApp:
    """Return the relay server for the streams of a Celery app; options as `RelayApp`.

    Raises:
        ConfigurationError: a setting is wrong, or there is no secret.
    """

    def on_stop(stream_id: str) -> None:
        app.control.broadcast(STOP_COMMAND, arguments={"stream_id": stream_id})

    return RelayApp(read_settings(app), **{"on_stop": on_stop, **options})


def request_of(scope: Scope) -> Request:
    """The request that a scope describes, its path relative to where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and (path == root or path.startswith(root.rstrip("/") + "/")):
        path = path[len(root.rstrip("/")) :] or "/"
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    query = scope.get("query_string", b"").decode("latin-1")
    return Request(scope["method"], path, query, headers, scope.get("scheme", "http"))


def stream_id_of(request: Request, prefix: str) -> str:
    try:
        return check_stream_id(request.path[len(prefix) :])
    except ConfigurationError:
        raise durable.not_found() from None


def start_message(status: int, headers: Headers) -> Message:
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return {"type": "http.response.start", "status": status, "headers": raw}


def complete_headers(reply: Reply, common: Headers, method: str) -> Headers:
    """A reply's headers, and those that all replies have unless it says otherwise."""
    headers = list(reply.headers)
    if reply.status not in (204, 304) and method != "HEAD":
        headers.append(("content-length", str(len(reply.body))))
    said = {name for name, _ in headers}
    return (*headers, *(item for item in common if item[0] not in said))
