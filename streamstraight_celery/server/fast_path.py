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
    """`data` in the chunked transfer coding (RFC 9112, 7.1), where none would be the end."""
    return data and b"%x\r\n%b\r\n" % (len(data), data)


def wired_protocol() -> type[Any]:
    """uvicorn's HTTP protocol with a `Wire` in each scope, and limits for whoever connects.

    Needs uvicorn and httptools.
    """
    from .http_protocol import HttpProtocol

    return HttpProtocol
