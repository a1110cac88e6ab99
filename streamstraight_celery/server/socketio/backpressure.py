"""How much is on its way to one connection, which Engine.IO's own queue does not tell."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Any

from . import PACKET
from .packets import is_packet

# The name under which it stands in a scope.
FLOW = "streamstraight.flow"
# Bytes on their way after which a consumer is waited for.
ROOM = 256 * 1024


class Flow:
    """Stands between Engine.IO and the server of one connection.

    Args:
        receive, send: the server's.

    Attributes:
        limit: characters that a message of the peer may have: little, unless it is a producer.
        aborted: `abort` was called.
    """

    def __init__(self, receive: Any, send: Any) -> None:
        self._receive = receive
        self._send = send
        self._sizes: deque[int] = deque()
        self._size = 0
        self._room = asyncio.Event()
        self._task = asyncio.current_task()
        self.limit: float = PACKET
        self.aborted = False

    async def receive(self) -> Any:
        """The `receive` that Engine.IO gets; a peer that sends no packets is gone."""
        message = await self._receive()
        if message["type"] == "websocket.receive":
            text = message.get("text")
            if not is_packet(text):
                return {"type": "websocket.disconnect", "code": 1003}
            if len(text) > self.limit:
                return {"type": "websocket.disconnect", "code": 1009}
        return message

    async def send(self, message: Any) -> None:
        """The `send` that Engine.IO gets."""
        await self._send(message)
        # A Socket.IO event, announced to `emitting`.
        if self._sizes and (message.get("text") or "").startswith("42"):
            self._size -= self._sizes.popleft()
            if self._size <= ROOM // 2:
                self._room.set()

    def emitting(self, size: int) -> None:
        """An event of about this size is about to be emitted."""
        self._sizes.append(size)
        self._size += size

    async def drain(self, seconds: float) -> bool:
        """Wait until there is room; False: there was none for so long."""
        if self._size <= ROOM:
            return True
        self._room.clear()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._room.wait(), seconds)
        return self._size <= ROOM

    def abort(self) -> None:
        """End the connection and drop unsent messages."""
        self.aborted = True
        if self._task is not None:
            self._task.cancel()
