"""This relay as Streamstraight: its SDK and clients connect here, on the same log as all others."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ...errors import MissingDependencyError
from ...settings import StreamSettings
from ..durable import Refused

if TYPE_CHECKING:
    from ..access import Access
    from ..hub import Hub
    from .door import Door

SOCKET_IO = "/socket.io/"
TOKEN = "/v1/token"
NO_KEYS = "stream_api_keys is not set"
# Escaping in JSON makes six bytes of one at worst; the rest is the packet around it.
ESCAPED = 6
PACKET = 64 * 1024


def closed_because(settings: StreamSettings) -> str:
    """Why the door is closed; `""` when it is open: there are keys, and the extra is installed."""
    if not settings.api_keys:
        return NO_KEYS
    if find_spec("socketio") is None or find_spec("websockets") is None:
        return str(MissingDependencyError("python-socketio or websockets", "streamstraight"))
    return ""


def open_door(settings: StreamSettings, hub: Hub, access: Access) -> Door | None:
    """The door for this event loop, None when it is closed."""
    if closed_because(settings):
        return None
    from .door import Door

    return Door(settings, hub, access)


def closed(because: str) -> Refused:
    """The answer at a door that is not open."""
    return Refused(403, "closed", f"this relay does not take the Streamstraight SDK: {because}")


def uvicorn_options(settings: StreamSettings) -> dict[str, Any]:
    """What uvicorn needs to know for it."""
    if closed_because(settings):
        return {"ws": "none"}
    return {
        "ws": "auto",
        "ws_max_size": settings.max_chunk_bytes * ESCAPED + PACKET,
        # Engine.IO has pings of its own, and small packets are not worth compressing.
        "ws_ping_interval": None,
        "ws_per_message_deflate": False,
    }


def is_socket_io(scope: Any) -> bool:
    """Whether a request or WebSocket is for the Socket.IO door."""
    if scope["type"] not in ("http", "websocket"):
        return False
    root = scope.get("root_path", "").rstrip("/")
    path: str = scope["path"]
    return path.startswith(SOCKET_IO) or bool(root and path.startswith(root + SOCKET_IO))


async def serve(
    settings: StreamSettings, door: Door | None, scope: Any, receive: Any, send: Any
) -> None:
    """Serve it, or say that the door is closed."""
    if door is not None:
        await door(scope, receive, send)
        return
    because = closed_because(settings)
    reply = closed(because).reply()
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": because[:100]})
        return
    headers = [(name.encode(), value.encode()) for name, value in reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
