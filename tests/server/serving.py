"""A relay server on a real socket, in the test's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import uvicorn

from streamstraight_celery.server.run import listen
from streamstraight_celery.server.wire import wired_protocol


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
        ws="none",
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
    try:
        yield listening.getsockname()[1]
    finally:
        if hasattr(app, "drain"):
            await app.drain()
        server.should_exit = True
        await task
