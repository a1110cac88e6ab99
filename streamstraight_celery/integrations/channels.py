"""Django Channels: `respond(stream, consumer)` sends a stream on a consumer's WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from ..enqueue.handle import StreamLink
from ..errors import MissingDependencyError
from ..server.own_routes.sockets import serve_socket
from .hubs import asked

try:
    from channels.generic.websocket import AsyncWebsocketConsumer
except ImportError as error:
    raise MissingDependencyError("Django Channels", "channels") from error

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..server.own_routes.options import Options


def respond(
    stream: StreamLink | str,
    consumer: AsyncWebsocketConsumer,
    *,
    close: bool = True,
    **options: Unpack[Options],
) -> asyncio.Task[str]:
    """Send a stream on a consumer's WebSocket, beside the messages that the consumer handles.

    Call it in a handler of the consumer (`connect` after `accept()`, `receive`); it returns at
    once. It ends with the stream, and when the client leaves; cancel the task to end it earlier.

    Messages and close codes are those of `integrations.fastapi.respond_websocket`.

    Args:
        stream: a handle, or a stream's id.
        consumer: an `AsyncWebsocketConsumer` that has accepted its socket.
        close: close the socket at the end; False: for the next stream.
        **options: `envelope`, `offset`, `app`.

    Returns:
        A task with the end reason, or the code of what prevented reading; `""`: the client left.

    Raises:
        ConfigurationError, MalformedOffsetError: an option is wrong.
        TypeError: `stream` is neither a handle nor an id, or the consumer is not async.
    """
    if not isinstance(consumer, AsyncWebsocketConsumer):
        raise TypeError(f"{consumer!r} is not an AsyncWebsocketConsumer")
    hubs, stream_id, wanted = asked(stream, options)
    gone = asyncio.Event()
    serving = asyncio.current_task()
    assert serving is not None  # a handler runs in its consumer's task
    serving.add_done_callback(lambda _: gone.set())

    async def receive() -> MutableMapping[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send_text(text: str) -> None:
        if not gone.is_set():
            await consumer.send(text_data=text)

    async def answer() -> str:
        query = consumer.scope.get("query_string", b"").decode("latin-1")
        code, reason = await serve_socket(hubs, stream_id, query, wanted, receive, send_text)
        if close and code and not gone.is_set():
            with contextlib.suppress(OSError, RuntimeError):  # the client has just gone
                await consumer.close(code)
        return reason

    answering = asyncio.ensure_future(answer())
    # Kept as long as it runs: the event loop alone holds tasks weakly.
    _answering.add(answering)
    answering.add_done_callback(_answering.discard)
    return answering


_answering: set[asyncio.Task[str]] = set()
