"""A relay server on a real socket, in the test's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import uvicorn

from streamstraight_celery.server import run
from streamstraight_celery.server.fast_path import wired_protocol
from streamstraight_celery.server.run import listen

# Those that are open now, by the server's port.
connections: dict[int, set[Any]] = {}


def listen_narrow(host: str, port: int) -> socket.socket:
    """As `listen`; the system takes little of what its connections write."""
    listening = run.listen(host, port)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    return listening


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@contextlib.asynccontextmanager
async def serving(app: Any, *, wired: bool = True, **options: Any) -> AsyncIterator[int]:
    """Serve an ASGI application; gives the port. `wired`: as our own process does."""
    listening = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        app,
        http=wired_protocol() if wired else "httptools",
        ws=options.pop("ws", "none"),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
        **options,
    )
    server = _Server(config)
    task = asyncio.ensure_future(server.serve(sockets=[listening]))
    while not server.started:
        assert not task.done(), "the server did not start"
        await asyncio.sleep(0)
    port = listening.getsockname()[1]
    connections[port] = server.server_state.connections
    try:
        yield port
    finally:
        del connections[port]
        if hasattr(app, "drain"):
            await app.drain()
        server.should_exit = True
        await task
