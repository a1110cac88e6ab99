"""The Socket.IO endpoint: connections, and which of them are still alive."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import time
from collections.abc import Awaitable, Mapping
from typing import Any

import socketio
from socketio.exceptions import ConnectionRefusedError

from ...cancellation import cancelled
from ...errors import RelayUnavailableError
from ...offsets import new_nonce
from ...relays.requests import Claim, Reap
from ...settings import StreamSettings
from ..access import Access, bearer_in
from ..frame_guard import ALLOWANCE
from ..live.hub import Hub
from . import ESCAPED, PACKET
from .backpressure import FLOW, Flow
from .consumer import Consumer
from .packets import Packet
from .producer import Producer
from .protocol import Denied, Handshake, parse_handshake
from .tokens import consumer_until

logger = logging.getLogger(__name__)

# Engine.IO's own, so that a peer that is gone is noticed within their sum.
PING_INTERVAL = 10
PING_TIMEOUT = 10
_NONCE = re.compile(r"[0-9a-f]{8}\Z", re.ASCII)


class SocketIOEndpoint:
    """`/socket.io/` on one event loop.

    Args:
        settings: keys, limits and time-outs.
        hub: where live streams and the log are.
        access: which origins may read.
    """

    def __init__(self, settings: StreamSettings, hub: Hub, access: Access) -> None:
        self._settings = settings
        self._hub = hub
        self._access = access
        self._producers: dict[str, Producer] = {}
        self._consumers: dict[str, Consumer] = {}
        self._expiry: dict[str, float] = {}
        self._following: dict[str, asyncio.Task[None]] = {}
        self._flows: dict[str, Flow] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # Not async_handlers: they would let chunks overtake each other. No client manager but the
        # one in memory: those on Redis unpickle what anybody writes there (CVE-2025-61765).
        self._server: Any = socketio.AsyncServer(
            async_mode="asgi",
            async_handlers=False,
            serializer=Packet,
            transports=["websocket"],
            cors_allowed_origins="*",  # checked by `_connect`, which knows the allow-list
            ping_interval=PING_INTERVAL,
            ping_timeout=PING_TIMEOUT,
            max_http_buffer_size=settings.max_chunk_bytes * ESCAPED + PACKET,
            monitor_clients=False,
        )
        for name, handler in {
            "connect": self._connect,
            "disconnect": self._disconnect,
            "producer:chunk": self._chunk,
            "producer:end": self._end,
            "producer:heartbeat": self._heartbeat,
            "consumer:ready": self._ready,
        }.items():
            self._server.on(name, handler)
        self._spawn(self._repeat())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        flow = Flow(receive, send, scope.get("state", {}).get(ALLOWANCE))
        try:
            await self._server.handle_request({**scope, FLOW: flow}, flow.receive, flow.send)
        except asyncio.CancelledError:
            if not flow.aborted:
                raise
        finally:
            flow.close()

    async def close(self) -> None:
        """End all connections; our workers reconnect, here or elsewhere."""
        await asyncio.gather(
            *(self._drop(sid) for sid in [*self._producers, *self._consumers]),
            return_exceptions=True,
        )
        await cancelled(*self._tasks, *self._following.values())

    # -- connections

    async def _connect(self, sid: str, environ: Mapping[str, Any], auth: Any) -> None:
        try:
            handshake = parse_handshake(auth)
            header = environ.get("HTTP_AUTHORIZATION", "")
            origin = environ.get("HTTP_ORIGIN", "")
            flow: Flow = environ["asgi.scope"][FLOW]
            if handshake.role == "producer":
                if not self._access.is_api_key(bearer_in(header)):
                    raise Denied("unauthorized", "the API key is not valid for this relay")
                await self._connect_producer(sid, handshake)
            elif origin and not self._access.may_connect(
                origin, environ["asgi.scope"]["scheme"], environ.get("HTTP_HOST", "")
            ):
                raise Denied("forbidden-origin", "this origin may not read")
            else:
                until = consumer_until(handshake, header, self._access)
                self._expiry[sid] = until
                emit = functools.partial(self._emit_within, sid, flow)
                self._consumers[sid] = Consumer(self._hub, handshake.stream_id, emit)
        except Denied as denied:
            raise ConnectionRefusedError(str(denied), denied.data) from None
        flow.let_in(as_producer=handshake.role == "producer")
        self._flows[sid] = flow

    async def _connect_producer(self, sid: str, handshake: Handshake) -> None:
        goes_on = bool(handshake.nonce)
        if goes_on and not (_NONCE.match(handshake.nonce) and handshake.attempt > 0):
            raise Denied("bad-request", "nonce and attempt are those of stream:info")
        nonce = handshake.nonce or new_nonce()
        claim = Claim(
            handshake.stream_id, nonce, "", handshake.kind,
            attempt=handshake.attempt if goes_on else 0,
            # The SDK restarts numbering on each connection, so its chunks are appended.
            resume=not (handshake.ours or handshake.overwrite),
            overwrite=handshake.overwrite and not goes_on,
        )  # fmt: skip
        try:
            answer = (await self._hub.relay.execute([claim]))[0]
        except RelayUnavailableError as error:
            logger.warning("%s", error)
            raise Denied("unavailable", "the stream store does not answer") from None
        match answer.kind:
            case "ok":
                pass
            case "busy":
                left = answer.retry_in_ms
                message = f"a living producer holds the stream for another {left} ms"
                raise Denied("busy", message, retryInMs=left)
            case "closed":
                message = f"the stream has ended ({answer.end_reason})"
                raise Denied("closed", message, reason=answer.end_reason)
            case "fenced":
                raise Denied("fenced", "another producer has taken over")
            case _:
                raise Denied("unavailable", "the stream store does not take the stream")
        producer = Producer(
            self._hub.relay, self._settings, handshake, nonce, answer,
            emit=functools.partial(self._emit, sid), drop=functools.partial(self._drop, sid),
            now=self._hub.now(),
        )  # fmt: skip
        self._replace(producer)
        self._producers[sid] = producer
        self._spawn(self._introduce(sid, producer))

    def _replace(self, producer: Producer) -> None:
        """Forget an older connection of the same attempt: it is lost, and may not know it yet."""
        for sid, other in list(self._producers.items()):
            if (other.stream_id, other.nonce) == (producer.stream_id, producer.nonce):
                other.over = True
                del self._producers[sid]
                self._spawn(self._drop(sid))

    async def _introduce(self, sid: str, producer: Producer) -> None:
        """Send `stream:info`, which may not overtake the answer to the connection."""
        await asyncio.sleep(0)  # python-socketio sends that one before it awaits anything
        await self._emit(sid, "stream:info", producer.info)

    async def _disconnect(self, sid: str, reason: str = "") -> None:
        if (flow := self._flows.pop(sid, None)) is not None:
            flow.turn_out()
        self._consumers.pop(sid, None)
        self._expiry.pop(sid, None)
        if (following := self._following.pop(sid, None)) is not None:
            following.cancel()
        if (producer := self._producers.pop(sid, None)) is not None:
            self._spawn(self._vanish(producer))

    async def _vanish(self, producer: Producer) -> None:
        """Its connection is lost: another may take over, or its stream ends after a while."""
        with contextlib.suppress(RelayUnavailableError):  # its lease then says the same, later
            if await producer.vanished():
                self._spawn(self._reap(producer.stream_id))

    async def _reap(self, stream_id: str) -> None:
        while True:
            try:
                answer = (await self._hub.relay.execute([Reap(stream_id)]))[0]
            except RelayUnavailableError:
                left = self._settings.reap_after
            else:
                self._hub.tally.reaped += answer.kind == "ended"
                left = answer.retry_in_ms / 1000
                if answer.kind != "alive" or left > self._settings.reap_after:
                    return  # ended, or taken over: its lease is longer than the grace time
            await asyncio.sleep(left)

    # -- events

    async def _chunk(self, sid: str, payload: Any = None) -> None:
        if (producer := self._producers.get(sid)) is not None:
            await producer.chunk(payload, self._hub.now())

    async def _end(self, sid: str, payload: Any = None) -> dict[str, object]:
        producer = self._producers.get(sid)
        if producer is None:
            return {"success": False, "error": "this connection produces no stream"}
        return await producer.end(payload, self._hub.now())

    async def _heartbeat(self, sid: str, payload: Any = None) -> None:
        if (producer := self._producers.get(sid)) is not None:
            producer.heard_at = self._hub.now()

    async def _ready(self, sid: str, payload: Any = None) -> None:
        consumer = self._consumers.get(sid)
        if consumer is not None and sid not in self._following:
            task = asyncio.get_running_loop().create_task(consumer.run())
            self._following[sid] = task
            task.add_done_callback(_log_failure)

    async def _emit(self, sid: str, event: str, payload: Mapping[str, object]) -> None:
        await self._server.emit(event, payload, to=sid)

    async def _emit_within(
        self, sid: str, flow: Flow, event: str, payload: Mapping[str, object]
    ) -> None:
        """Emit to a consumer, no faster than it takes; one that takes nothing is dropped."""
        flow.emitting(len(str(payload.get("data") or "")))
        await self._emit(sid, event, payload)
        if not await flow.drain(self._settings.send_timeout):
            logger.info("a consumer takes nothing; closed")
            self._hub.tally.dropped += 1
            flow.abort()
            await self._drop(sid)

    async def _drop(self, sid: str) -> None:
        """End a connection, once everything emitted to it has been sent."""
        engine_id = self._server.manager.eio_sid_from_sid(sid, "/")
        await self._server.disconnect(sid)
        if engine_id is not None:
            self._spawn(self._hang_up(engine_id))

    async def _hang_up(self, engine_id: str) -> None:
        socket = self._server.eio.sockets.get(engine_id)
        if socket is None:
            return
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(
                self._server.eio.disconnect(engine_id), self._settings.send_timeout
            )
        # Engine.IO leaves it to the client to close; this ends the writer, which closes for it.
        socket.queue.put_nowait(None)

    # -- time

    async def _repeat(self) -> None:
        interval = min(1.0, self._settings.lease / 3)
        while True:
            await asyncio.sleep(interval)
            try:
                await self._tick()
            except RelayUnavailableError:
                continue  # writing says so
            except Exception:
                logger.exception("unexpected error in the Socket.IO endpoint; continuing")

    async def _tick(self) -> None:
        now, clock = self._hub.now(), time.time()
        for sid in [sid for sid, until in self._expiry.items() if until <= clock]:
            await self._emit(sid, "stream:error", {"message": "the token has expired"})
            await self._drop(sid)
        alive = [each for each in self._producers.values() if not each.over]
        for producer in alive:
            if now - producer.heard_at > self._settings.inactivity_timeout:
                self._spawn(self._silence(producer))
        if alive:
            answers = await self._hub.relay.execute([each.renewal for each in alive])
            for producer, answer in zip(alive, answers, strict=True):
                if answer.kind != "error":
                    await producer.renewed(answer)

    async def _silence(self, producer: Producer) -> None:
        self._hub.tally.reaped += await producer.silent()

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_log_failure)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("a task of the Socket.IO endpoint failed", exc_info=error)
