"""What our own server process offers an SSE response beside ASGI.

A frame for a thousand readers costs 17 us each as an ASGI message, because each reader's task is
woken for it, and half of that written straight to the sockets. ASGI still begins and ends each
response and waits for slow readers; the shortcut is for the one hot case, and any other ASGI
server simply does not offer it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any, Protocol

# The name under which it stands in a scope's extensions.
WIRE = "streamstraight.wire"

# Of a request's head, about, and seconds until it has to be there: uvicorn has no limit of its own.
# The rest of a body that was not needed for the answer has as long.
HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 15.0
# After so many seconds in which a client takes nothing of a whole answer it is cut off.
REST_SECONDS = 30.0


class Wire(Protocol):
    """One HTTP/1.1 connection whose response has no length, so that it is sent in chunks."""

    on_lost: Callable[[], None] | None

    @property
    def lost(self) -> bool:
        """The connection is gone, or going: `on_lost` may have been due before it was set."""
        ...

    @property
    def writable(self) -> bool:
        """The connection is open and takes bytes as fast as they come."""
        ...

    def write(self, chunk: bytes) -> None:
        """Send a part of the response's body, already as `http_chunk`."""

    def hang_up(self) -> None:
        """Close the connection once all is sent, although the response is not complete."""

    def abort(self) -> None:
        """Drop the connection at once, whatever is still unsent."""


def wire_of(scope: Any) -> Wire | None:
    """What the server offers for this request, if it does."""
    found: Wire | None = (scope.get("extensions") or {}).get(WIRE)
    return found


def http_chunk(data: bytes) -> bytes:
    """`data` in the chunked transfer coding (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def wired_protocol() -> type[Any]:
    """uvicorn's HTTP protocol with a `Wire` in each scope, and limits for whoever connects.

    Needs uvicorn and httptools.
    """
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class WiredProtocol(HttpToolsProtocol):
        # Not in the instance's dict: one more key there would cost each connection 1.5 KB.
        __slots__ = ("_head_size", "_head_timer", "on_lost")
        on_lost: Callable[[], None] | None
        _head_size: float
        # A head is awaited, or what is left of a body after the answer.
        _head_timer: asyncio.TimerHandle | None

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.on_lost = self._head_timer = None

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

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._await_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._head_timer is not None:
                self._head_size += len(data)
                if self._head_size > HEAD_BYTES and not self.transport.is_closing():
                    self.send_400_response("The request's head is too large.")

        def on_message_begin(self) -> None:
            self._unset_keepalive_if_required()
            super().on_message_begin()
            if self._head_timer is None:
                self._await_head()
            extensions: dict[str, Any] = {WIRE: self}
            self.scope["extensions"] = extensions

        def on_headers_complete(self) -> None:
            self._forget_head()
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            super().on_message_complete()
            if self._head_timer is not None:
                # uvicorn counts the seconds to the next request from the answer, up to any byte.
                self._forget_head()
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch_rest(0)
            cycle = self.cycle  # of the newest request, whose turn may not have come
            if cycle.response_complete and cycle.more_body and not self.transport.is_closing():
                self._await_head(-inf)

        def _await_head(self, size: float = 0) -> None:
            self._head_size = size
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

        def _forget_head(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _watch_rest(self, before: int) -> None:
            """Look whether what is unsent becomes less."""
            size = self.transport.get_write_buffer_size()
            if size and size == before:
                self.transport.abort()
            elif size:
                self.loop.call_later(REST_SECONDS, self._watch_rest, size)

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget_head()
            super().connection_lost(exc)
            if self.on_lost is not None:
                self.on_lost()

    return WiredProtocol
