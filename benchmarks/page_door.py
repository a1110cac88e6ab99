"""The relay of `benchmarks.ours` with one door more: many streams over a WebSocket.

    python -m benchmarks.page_door PORT

The WebSocket's first message is the body of `POST /v1/streams`; each part of the response is a
message. So the two differ by their transport alone.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn

from benchmarks.ours import app
from streamstraight_celery.server.app import RelayApp, relay_app
from streamstraight_celery.server.fast_path import wired_protocol
from streamstraight_celery.server.http import Message, Receive, Send
from streamstraight_celery.server.run import BACKLOG


class WithWebSocket:
    """An ASGI application: the relay, and that door."""

    def __init__(self, relay: RelayApp) -> None:
        self._relay = relay

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._relay(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        asked: list[Message] = [
            {"type": "http.request", "body": (await receive())["text"].encode(), "more_body": False}
        ]

        async def receive_http() -> Message:
            while not asked:
                if (await receive())["type"] == "websocket.disconnect":
                    return {"type": "http.disconnect"}
            return asked.pop()

        async def send_http(message: Message) -> None:
            if message.get("body"):
                # Not as text: that would only cost more.
                await send({"type": "websocket.send", "bytes": message["body"]})

        http = {**scope, "type": "http", "method": "POST", "path": "/v1/streams"}
        await self._relay(http, receive_http, send_http)


if __name__ == "__main__":
    uvicorn.run(
        WithWebSocket(relay_app(app)),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        http=wired_protocol(),
        ws="websockets",
        log_level="warning",
        access_log=False,
        backlog=BACKLOG,
    )
