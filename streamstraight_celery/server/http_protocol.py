"""uvicorn's HTTP protocol, with limits for clients before it is known who they are.

uvicorn bounds neither heads nor trailers nor pipelines, and it keeps a connection whose upgrade it
did not take although the parser took the rest of that request for the next one. Needs uvicorn and
httptools; imported by `fast_path.wired_protocol`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .fast_path import WIRE
from .frame_guard import ALLOWANCE, Allowance, FrameGuard
from .socketio import SOCKET_IO

# Bytes of one request besides its body: head, chunk headers, trailers. A body in small chunks may
# bring more: twice its own size.
HEAD_BYTES = 64 * 1024
MAX_HEADERS = 256
# Seconds until a head has to be complete: uvicorn has no limit.
HEAD_SECONDS = 15.0
# Requests of one connection that may wait for the answer to the one before.
MAX_PIPELINED = 16
# A body that the answer did not need is still read, so that clients which send before they read get
# the answer: for so many seconds and bytes.
LEFTOVER_SECONDS = 3.0
LEFTOVER_BYTES = 1024 * 1024
# A client that takes nothing of a whole answer for so many seconds is cut off.
REST_SECONDS = 30.0
# What libraries for WebSockets bear of a handshake.
MAX_HANDSHAKE_HEADERS = 100
MAX_HANDSHAKE_LINE = 8000


class RequestTooLargeError(Exception):
    """Raised in the parser's callbacks; httptools raises an `HttpParserError` of its own then."""


class HttpProtocol(HttpToolsProtocol):
    """One connection; it is also the `Wire` of its streaming response."""

    # Not in the instance's dict: one more key there would cost each connection 1.5 KB.
    __slots__ = ("_body", "_body_limit", "_in_head", "_overhead", "_timer", "on_lost")
    on_lost: Callable[[], None] | None
    parser: Any  # None once a WebSocket has taken over
    _overhead: int  # bytes of this request besides its body
    _body: int
    _body_limit: float
    # A head is awaited, or what is left of a body after the answer.
    _timer: asyncio.TimerHandle | None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.on_lost = self._timer = None
        self._in_head = False
        self._overhead = self._body = 0
        self._body_limit = inf

    # -- the wire

    @property
    def lost(self) -> bool:
        return bool(self.transport.is_closing())

    @property
    def writable(self) -> bool:
        return not (self.flow.write_paused or self.transport.is_closing())

    def write(self, chunk: bytes) -> None:
        self.transport.write(chunk)

    def hang_up(self) -> None:
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    # -- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._set_timer(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unset_timer()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        on_lost, self.on_lost = self.on_lost, None
        if on_lost is not None:
            on_lost()
        # Scopes lead back here by their extension. Without these the connection and all that it
        # received is freed at once; otherwise only by the collector, which is seldom and late.
        self.pipeline.clear()
        self.scope = self.headers = self.cycle = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._overhead += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse("Invalid HTTP request received.")
            return
        if self.parser is None:
            return  # it is a WebSocket now
        if self._overhead > HEAD_BYTES + 2 * self._body:
            self._refuse("The request's head, chunk headers or trailers are too large.")
        elif self._body > self._body_limit:
            self.transport.close()

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                rest = data[upgrade.args[0] :]
                if self._is_handshake():
                    self._hand_over(rest)
                    return
                if self.parser.get_method() == b"CONNECT":
                    self._refuse("This is not a proxy.")
                    return
            # An upgrade that is not taken is an ordinary request, with its body (RFC 9110, 7.8).
            # The parser has no way to continue with it, so a new one reads it without the upgrade.
            data = self._head_without_upgrade() + rest
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        parts = [self.parser.get_method(), b" ", self.url, b" HTTP/", version, b"\r\n"]
        for name, value in self.headers:
            if name != b"upgrade":
                parts += [name, b": ", value, b"\r\n"]
        return b"".join([*parts, b"\r\n"])

    def _refuse(self, message: str) -> None:
        """Close, with 400 unless it would be taken for the answer to an earlier request."""
        if self.transport.is_closing():
            return
        self._unset_timer()
        cycle = self.cycle
        unanswered = cycle is not None and not cycle.response_complete
        if unanswered and (self._in_head or self.pipeline or cycle.response_started):
            self.transport.abort()
        else:
            self.send_400_response(message)

    # -- upgrades

    def _is_handshake(self) -> bool:
        return (
            self.parser.get_method() == b"GET"
            and self._should_upgrade()
            and (httptools.parse_url(self.url).path or b"").startswith(SOCKET_IO.encode())
        )

    def _hand_over(self, rest: bytes) -> None:
        """Let uvicorn's WebSocket protocol serve this connection, behind a guard."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()  # nothing may be answered before that
            return
        if not self._is_sound_handshake():
            self._refuse("The WebSocket's handshake has a body, is too large or not ASCII.")
            return
        self._unset_timer()
        self.connections.discard(self)
        head = [b"GET ", self.url, b" HTTP/1.1\r\n"]
        for name, value in self.headers:
            head += [name, b": ", value, b"\r\n"]
        guard = FrameGuard(self.transport, self._websocket, self.loop)
        guard.begin(b"".join([*head, b"\r\n"]), rest)
        self.parser = self.scope = self.headers = self.cycle = None  # type: ignore[assignment]

    def _websocket(self, allowance: Allowance) -> asyncio.Protocol:
        assert self.ws_protocol_class is not None
        make: Any = self.ws_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config,
            server_state=self.server_state,
            app_state={**self.app_state, ALLOWANCE: allowance},
        )
        return protocol

    def _is_sound_handshake(self) -> bool:
        length = max(len(self.url), *(len(n) + len(v) for n, v in self.headers))
        body = [
            value
            for name, value in self.headers
            if name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        ]
        # The library decodes a key that is not ASCII, and fails.
        readable = all(value.isascii() for name, value in self.headers if name.startswith(b"sec-"))
        return (
            readable
            and not body
            and length <= MAX_HANDSHAKE_LINE
            and len(self.headers) <= MAX_HANDSHAKE_HEADERS
        )

    # -- the parser's callbacks

    def on_message_begin(self) -> None:
        self._unset_keepalive_if_required()
        super().on_message_begin()
        self._in_head = True
        self._overhead = self._body = 0
        self._body_limit = inf
        if self._timer is None:
            self._set_timer(HEAD_SECONDS)
        extensions: dict[str, Any] = {WIRE: self}
        self.scope["extensions"] = extensions

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer; nobody reads them
        if len(self.headers) >= MAX_HEADERS:
            raise RequestTooLargeError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # `_feed` decides what becomes of it
        self._in_head = False
        if len(self.pipeline) >= MAX_PIPELINED:
            raise RequestTooLargeError
        self._unset_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        self._overhead -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._body_limit = inf
        if self._timer is not None:
            # uvicorn counts the seconds to the next request from the answer, up to any byte.
            self._unset_timer()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_rest(0)
        cycle = self.cycle  # of the newest request, whose turn may not have come
        if cycle is None or self.transport.is_closing():
            return
        if cycle.response_complete and cycle.more_body:
            self._body_limit = self._body + LEFTOVER_BYTES
            self._set_timer(LEFTOVER_SECONDS)

    # -- time

    def _set_timer(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def _unset_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch_rest(self, before: int) -> None:
        """Look whether what is unsent becomes less."""
        size = self.transport.get_write_buffer_size()
        if size and size == before:
            self.transport.abort()
        elif size:
            self.loop.call_later(REST_SECONDS, self._watch_rest, size)
