"""What our own server process offers an SSE response beside ASGI.

A frame for a thousand readers costs 17 us each as an ASGI message, because each reader's task is
woken for it, and half of that written straight to the sockets. ASGI still begins and ends each
response and waits for slow readers; the shortcut is for the one hot case, and any other ASGI
server simply does not offer it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

# The name under which it stands in a scope's extensions.
WIRE = "streamstraight.wire"


class Wire(Protocol):
    """One HTTP/1.1 connection whose response has no length, so that it is sent in chunks."""

    on_lost: Callable[[], None] | None

    @property
    def writable(self) -> bool:
        """The connection is open and takes bytes as fast as they come."""
        ...

    def write(self, chunk: bytes) -> None:
        """Send a part of the response's body, already as `http_chunk`."""

    def abort(self) -> None:
        """Drop the connection at once, whatever is still unsent."""


def http_chunk(data: bytes) -> bytes:
    """`data` in the chunked transfer coding (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def wired_protocol() -> type[Any]:
    """uvicorn's HTTP protocol with a `Wire` in each scope; needs uvicorn and httptools."""
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class WiredProtocol(HttpToolsProtocol):
        # Not in the instance's dict: one more key there would cost each connection 1.5 KB.
        __slots__ = ("on_lost",)
        on_lost: Callable[[], None] | None

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.on_lost = None

        @property
        def writable(self) -> bool:
            return not (self.flow.write_paused or self.transport.is_closing())

        def write(self, chunk: bytes) -> None:
            self.transport.write(chunk)

        def abort(self) -> None:
            self.transport.abort()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            extensions: dict[str, Any] = {WIRE: self}
            self.scope["extensions"] = extensions

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self.on_lost is not None:
                self.on_lost()

    return WiredProtocol
