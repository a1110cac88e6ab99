"""The relay server: an ASGI application."""

from __future__ import annotations

import asyncio
import functools
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from celery import Celery

from ..conversations.soon import EndTeller
from ..conversations.waking import wake
from ..errors import (
    RelayUnavailableError,
    StreamError,
    StreamNotFoundError,
)
from ..ids import STOP_COMMAND, is_conversation
from ..in_turn import InTurn
from ..relays import open_async_relay, open_relay
from ..relays.base import AsyncRelay
from ..relays.requests import Stop
from ..settings import StreamSettings, read_settings
from ..tokens import Grant
from . import conversations, socketio
from .access import Access
from .fast_path import Wire, wire_of
from .http import (
    READ_METHODS,
    Message,
    Receive,
    Refused,
    Reply,
    Request,
    Scope,
    Send,
    complete_headers,
    json_reply,
    method_not_allowed,
    not_found,
    nothing_here,
    request_of,
    start_message,
    stream_id_of,
)
from .live.hub import Hub, HubOptions
from .logs import Seldom, redact_tokens
from .metrics import METRICS, metrics_reply
from .pages import streams_page
from .pages.client_files import static_file
from .pages.streams_page import StreamsPage
from .reads import durable, multiplex, plain_sse, plain_text
from .reads.durable import STREAM_PATH
from .reads.handlers import Reading
from .reads.hubs import Hubs, OpenRelay, Tell
from .reads.sse_response import SseConnection
from .socketio.tokens import token_reply
from .writes import durable_writes
from .writes.handlers import Writing

if TYPE_CHECKING:
    from .socketio.endpoint import SocketIOEndpoint

logger = logging.getLogger(__name__)

QUIET_SECONDS = 10.0  # between two lines of the log about the same outage
SSE = "/v1/sse/"
STOP = "/v1/stop/"


@dataclass(slots=True)
class Running:
    """What belongs to one event loop."""

    relay: AsyncRelay
    hub: Hub
    reading: Reading
    writing: Writing
    socketio: SocketIOEndpoint | None


class RelayApp:
    """Hands out streams over HTTP, and takes them in where that is allowed.

    Mountable: paths are relative to the scope's `root_path`.

    It starts at the first request of an event loop (or at `lifespan.startup`, when the server or
    framework delivers that).

    Args:
        settings: all of the `stream_*` settings.
        on_stop: told the stream id when a stop is asked of a living producer, on a thread.
        on_input: told the conversation in which messages may be due; must not block.
        on_end: told the id of a stream that this server has ended; must not block.
        open_relay: makes the relay; for tests.
        hub_options: how streams are watched; for tests.
        hubs: shared with the application's own routes; then the arguments before it, but for
            `on_stop`, are those of the hubs.

    Raises:
        ConfigurationError: no secret.
    """

    def __init__(
        self,
        settings: StreamSettings,
        *,
        on_stop: Callable[[str], object] | None = None,
        on_input: Tell = str,
        on_end: Tell = str,
        open_relay: OpenRelay = open_async_relay,
        hub_options: HubOptions | None = None,
        hubs: Hubs | None = None,
    ) -> None:
        self.settings = settings
        self._access = Access(settings)
        self._streams_page = StreamsPage(self._access, settings)
        missed = "workers could not be told of %d stops"
        self._stops = None if on_stop is None else InTurn(on_stop, missed)
        self._hubs = hubs or Hubs(
            settings, open_relay=open_relay, options=hub_options, on_input=on_input, on_end=on_end
        )
        self._may_tell = Seldom(QUIET_SECONDS)
        self._tally = self._hubs.tally
        self._running: dict[asyncio.AbstractEventLoop, Running] = {}
        self._shared = multiplex.Multiplexer(
            self._access.headers, self._grant, lambda: self.start().reading, self._unavailable,
            self._tally, settings.send_timeout,
        )  # fmt: skip
        redact_tokens()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request, wire = request_of(scope), wire_of(scope)
            refused = self._access.refusal(scope)
            if refused is None and request.method == "POST" and request.path == multiplex.PATH:
                await self._shared.serve(request, receive, send, wire)
                return
            head, answer = await self._answer(request, receive, wire, refused)
            # A streaming response keeps this frame for long, so it holds little.
            del request, wire
            if isinstance(answer, SseConnection):
                await answer.serve(head.pop(), receive, send)
            else:
                await send(head.pop())
                await send({"type": "http.response.body", "body": answer, "more_body": False})
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            if socketio.leads_there(scope) and self._access.refusal(scope) is None:
                await socketio.serve(self.settings, self.start().socketio, scope, receive, send)
                return
            await receive()
            await send({"type": "websocket.close", "code": 1000})

    def start(self) -> Running:
        """What this event loop uses, made when there is none.

        Raises:
            ConfigurationError: the relay URL cannot be used.
        """
        loop, shared = asyncio.get_running_loop(), self._hubs.here()
        running = self._running.get(loop)
        if running is None or running.hub is not shared.hub:
            for other in [each for each in self._running if each.is_closed()]:
                del self._running[other]
            relay, hub, reading = shared.relay, shared.hub, shared.reading
            writing = Writing(relay, self.settings, self._tally)
            endpoint = socketio.open_endpoint(self.settings, hub, self._access)
            running = self._running[loop] = Running(relay, hub, reading, writing, endpoint)
        return running

    @property
    def page_path(self) -> str:
        """In development: path and key of the streams page (`/streams#key=...`); else `""`."""
        return self._access.page_path

    async def drain(self) -> None:
        """Close all streaming responses cleanly; their readers come back, here or elsewhere."""
        await self._hubs.drain()
        running = self._running.get(asyncio.get_running_loop())
        if running is not None and running.socketio is not None:
            await running.socketio.close()

    async def close(self) -> None:
        """Drain, and give up all connections of this event loop."""
        await self.drain()
        self._running.pop(asyncio.get_running_loop(), None)
        await self._hubs.close()

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

    async def _answer(
        self, request: Request, receive: Receive, wire: Wire | None, refused: Refused | None
    ) -> tuple[list[Message], SseConnection | bytes]:
        """The head of the response, to be popped, and what follows it."""
        reply: Reply | SseConnection
        try:
            if refused is not None:
                raise refused
            reply = await self._route(request, receive, wire)
        except Refused as error:
            reply = error.reply()
        except StreamNotFoundError:
            reply = not_found().reply()
        except RelayUnavailableError as error:
            reply = self._unavailable(error)
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            reply = Refused(500, "internal", "internal error; see the relay server's log").reply()
        common = self._access.headers(request)
        if isinstance(reply, SseConnection):
            frames = reply.frames
            live = durable.sse_headers(frames.content, frames.media_type)
            return [start_message(200, (*live, *frames.headers, *common))], reply
        self._tally.answered(request, reply)
        head = start_message(reply.status, complete_headers(reply, common, request.method))
        return [head], b"" if request.method == "HEAD" else reply.body

    async def _route(
        self, request: Request, receive: Receive, wire: Wire | None
    ) -> Reply | SseConnection:
        if request.method == "OPTIONS":
            return self._access.preflight(request)
        if request.path.startswith(STREAM_PATH):
            if request.method in READ_METHODS:
                return await self._read(request, receive, wire)
            return await self._write(request, receive)
        if request.path.startswith(SSE):
            return await self._plain(request, receive, wire, SSE)
        if request.path.startswith(plain_text.TEXT):
            return await self._plain(request, receive, wire, plain_text.TEXT)
        if request.path.startswith(STOP):
            return await self._stop(request)
        if request.path.startswith(conversations.SEND):
            return await self._send(request, receive)
        if request.path == multiplex.PATH:
            raise method_not_allowed(["POST"])
        if request.path.startswith(socketio.SOCKET_IO):
            raise socketio.not_by_http(self.settings)
        if request.path == socketio.TOKEN:
            relay = self.start().relay
            return await token_reply(request, self.settings, self._access, relay)
        if request.method not in READ_METHODS:
            raise method_not_allowed(READ_METHODS)
        if streams_page.leads_there(request.path):
            return await self._streams_page.answer(request, lambda: self.start().relay)
        if request.path in ("/healthz", "/readyz"):
            if request.path == "/readyz":
                await self.start().relay.ping()
            return json_reply(200, {"status": "ok"})
        if request.path == METRICS and self._access.shows_metrics(request):
            return metrics_reply(self._tally, self._hubs.every_feed())
        found = static_file(request)
        if found is None:
            raise nothing_here()
        return found

    async def _read(
        self, request: Request, receive: Receive, wire: Wire | None
    ) -> Reply | SseConnection:
        stream_id = stream_id_of(request, STREAM_PATH)
        grant = await self._grant(request, stream_id, "read")
        call = durable.parse_read(request)
        reading = self.start().reading
        if request.method == "HEAD":
            return await reading.head(stream_id)
        await reading.until_there(stream_id, call.wait, receive)
        if not call.live:
            return await reading.catch_up(stream_id, call)
        lifetime = grant.expires_at - time.time()
        if call.live == "long-poll":
            return await reading.long_poll(stream_id, call, lifetime, receive)
        return await reading.stream(stream_id, call, lifetime, wire)

    async def _write(self, request: Request, receive: Receive) -> Reply:
        allowed = durable_writes.METHODS if self.settings.writing else READ_METHODS
        if request.method not in allowed:
            raise method_not_allowed(allowed)
        stream_id = stream_id_of(request, STREAM_PATH)
        self._access.grant(request, stream_id, "write")

        def check_readable(source: str) -> None:
            self._access.grant(request, source, "read")

        return await self.start().writing.answer(stream_id, request, receive, check_readable)

    async def _plain(
        self, request: Request, receive: Receive, wire: Wire | None, prefix: str
    ) -> Reply | SseConnection:
        if request.method not in plain_sse.METHODS:
            raise method_not_allowed(plain_sse.METHODS)
        request = plain_sse.with_bearer(request)
        stream_id = stream_id_of(replace(request, path=plain_sse.target_of(request.path)), prefix)
        grant = await self._grant(request, stream_id, "read")
        call = plain_sse.parse_plain(request)
        reading, lifetime = self.start().reading, grant.expires_at - time.time()
        await reading.until_there(stream_id, call.wait, receive)
        return await reading.plain(
            stream_id, call, lifetime, wire, request.method == "POST",
            as_text=prefix == plain_text.TEXT,
        )  # fmt: skip

    async def _stop(self, request: Request) -> Reply:
        if request.method != "POST":
            raise method_not_allowed(["POST"])
        stream_id = stream_id_of(request, STOP)
        await self._grant(request, stream_id, "stop")
        answer = (await self.start().relay.execute([Stop(stream_id)]))[0]
        if answer.kind == "unknown":
            raise not_found()
        if answer.kind == "error":
            raise RelayUnavailableError(f"the stream store refused to stop: {answer.message}")
        if answer.kind == "ended":
            await self._hubs.tell_end(stream_id)
        if answer.kind == "ended" and answer.over_http:
            self._tally.closed[answer.end_reason] += 1
        if answer.kind == "asked":
            if self._stops is not None:
                self._stops.soon(stream_id)
            return json_reply(202, {"status": "asked"})
        return json_reply(200, {"status": "ended", "endReason": answer.end_reason})

    async def _send(self, request: Request, receive: Receive) -> Reply:
        if request.method != "POST":
            raise method_not_allowed(["POST"])
        stream_id = stream_id_of(request, conversations.SEND)
        self._access.grant(request, stream_id, "send")
        if not is_conversation(stream_id):
            raise not_found()
        limit = self.settings.max_chunk_bytes
        due = self._hubs.send_due
        return await conversations.send(self.start().relay, stream_id, request, receive, limit, due)

    async def _grant(self, request: Request, stream_id: str, scope: str) -> Grant:
        relay = self.start().relay
        return await conversations.grant_for(self._access, relay, request, stream_id, scope)

    def _unavailable(self, error: RelayUnavailableError) -> Reply:
        """503. The message names hosts, so it is for the log only, and not for each request."""
        logger.log(logging.WARNING if self._may_tell() else logging.DEBUG, "%s", error)
        after = (("retry-after", str(random.randint(1, 3))),)
        return Refused(503, error.code, "the stream store does not answer", after).reply()


def create_app(settings: StreamSettings, **options: Any) -> RelayApp:
    """Return the relay server as an ASGI application; options as `RelayApp`."""
    return RelayApp(settings, **options)


def relay_app(app: Celery, *, hubs: Hubs | None = None, **options: Any) -> RelayApp:
    """Return the relay server for the streams of a Celery app; options as `RelayApp`.

    Raises:
        ConfigurationError: a setting is wrong, or there is no secret.
    """

    def on_stop(stream_id: str) -> None:
        app.control.broadcast(STOP_COMMAND, arguments={"stream_id": stream_id})

    settings = read_settings(app)
    tellers = {"on_stop": on_stop, **({} if hubs is not None else tellers_of(app, settings))}
    return RelayApp(settings, hubs=hubs, **{**tellers, **options})


def app_hubs(app: Celery, settings: StreamSettings) -> Hubs:
    """Hubs for the streams of a Celery app, to share between a relay server and own routes."""
    return Hubs(settings, **tellers_of(app, settings))


def tellers_of(app: Celery, settings: StreamSettings) -> dict[str, Any]:
    """What tells a Celery app of the streams that end here."""
    # Connects when an input has come here.
    relay = functools.cache(lambda: open_relay(settings))

    # A broker that does not answer holds up a thread, and nobody else.
    waker = InTurn(
        lambda conversation: wake(app, relay(), conversation),
        "suspended tasks of %d conversation(s) are not continued yet; `streams sweep` does it",
    )
    return {"on_input": waker.soon, "on_end": EndTeller(app, settings).soon}
