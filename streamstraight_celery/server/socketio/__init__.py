"""This relay as Streamstraight: its SDK and clients connect here, on the same log as all others."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ...errors import MissingDependencyError
from ...settings import StreamSettings
from ..http import Refused, path_of

if TYPE_CHECKING:
    from ..access import Access
    from ..live.hub import Hub
    from .endpoint import SocketIOEndpoint

SOCKET_IO = "/socket.io/"
TOKEN = "/v1/token"
NO_KEYS = "stream_api_keys is not set"
# Escaping in JSON makes six bytes of one at worst; the rest is the packet around it.
ESCAPED = 6
PACKET = 64 * 1024


def closed_because(settings: StreamSettings) -> str:
    """Why Socket.IO is off; `""` when it is on: there are keys, and the extra is installed."""
    if not settings.api_keys:
        return NO_KEYS
    if find_spec("socketio") is None or find_spec("websockets") is None:
        return str(MissingDependencyError("python-socketio or websockets", "streamstraight"))
    return ""


def open_endpoint(settings: StreamSettings, hub: Hub, access: Access) -> SocketIOEndpoint | None:
    """The endpoint for this event loop; None when it is off."""
    if closed_because(settings):
        return None
    from .endpoint import SocketIOEndpoint

    return SocketIOEndpoint(settings, hub, access)


def closed(because: str) -> Refused:
    """The answer to a client when it is off."""
    return Refused(403, "closed", f"this relay does not take the Streamstraight SDK: {because}")


def uvicorn_options(settings: StreamSettings) -> dict[str, Any]:
    """What uvicorn needs to know for it."""
    if closed_because(settings):
        return {"ws": "none"}
    return {
        "ws": "auto",
        "ws_max_size": settings.max_chunk_bytes * ESCAPED + PACKET,
        # Engine.IO has its own pings, and small packets are not worth compressing.
        "ws_ping_interval": None,
        "ws_per_message_deflate": False,
    }


def leads_there(scope: Any) -> bool:
    """Whether a WebSocket is for the Socket.IO endpoint."""
    return path_of(scope).startswith(SOCKET_IO)


async def serve(
    settings: StreamSettings, endpoint: SocketIOEndpoint | None, scope: Any, receive: Any, send: Any
) -> None:
    """Serve a WebSocket, or say that Socket.IO is off."""
    if endpoint is not None:
        await endpoint(scope, receive, send)
        return
    because = closed_because(settings)
    await receive()
    await send({"type": "websocket.close", "code": 1008, "reason": because[:100]})


def not_by_http(settings: StreamSettings) -> Refused:
    """The answer to a request that isn't a WebSocket handshake.

    Not left to Engine.IO, which reads all of a body before it refuses it.
    """
    if because := closed_because(settings):
        return closed(because)
    return Refused(
        426, "websocket-only",
        "this endpoint takes WebSockets only. If this was one, a proxy has dropped its Upgrade "
        "header, or the server has no library for them",
        (("upgrade", "websocket"),),
    )  # fmt: skip
