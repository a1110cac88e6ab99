"""How much is on its way to one connection, which Engine.IO's own queue does not tell."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Any

from ..frame_guard import Allowance, Bucket
from . import PACKET
from .packets import CLOSE, is_packet

# The name under which it stands in a scope.
FLOW = "streamstraight.flow"
# Bytes on their way after which a consumer is waited for.
ROOM = 256 * 1024
# How long a peer may take to be let in, and what all but producers may send meanwhile and later.
HANDSHAKE_SECONDS = 10.0
MESSAGES, MESSAGES_A_SECOND = 30, 2


class Flow:
    """Stands between Engine.IO and the server of one connection.

    A peer that has not been let in may send a few messages, and has not long to be let in.

    Args:
        receive, send: the server's.
        allowance: what the server's guard lets pass, where there is one.
    """

    def __init__(self, receive: Any, send: Any, allowance: Allowance | None = None) -> None:
        self._receive = receive
        self._send = send
        self._allowance = allowance or Allowance()
        self._loop = asyncio.get_running_loop()
        self._messages = Bucket(MESSAGES, MESSAGES_A_SECOND, self._loop.time())
        self._sizes: deque[int] = deque()
        self._size = 0
        self._room = asyncio.Event()
        self._free = asyncio.Event()  # the peer takes what is sent
        self._free.set()
        self._task = asyncio.current_task()
        self._timer: asyncio.TimerHandle | None = None
        self.aborted = False
        self.turn_out()

    def let_in(self, *, as_producer: bool) -> None:
        """It is known who this is. Producers may send as much as the log takes."""
        self.close()
        self._allowance.trusted = as_producer

    def turn_out(self) -> None:
        """It is not known, or no more: it has a few seconds to be let in."""
        self.close()
        self._allowance.trusted = False
        self._timer = self._loop.call_later(HANDSHAKE_SECONDS, self.abort)

    def close(self) -> None:
        """Forget the time that it has."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def receive(self) -> Any:
        """The `receive` that Engine.IO gets; a peer that sends no packets is gone.

        It waits while the peer does not take what is sent: answers would pile up otherwise.
        """
        await self._free.wait()
        message = await self._receive()
        if message["type"] == "websocket.receive":
            text = message.get("text")
            if not is_packet(text) or text == CLOSE:
                return {"type": "websocket.disconnect", "code": 1003}
            if not self._allowance.trusted:
                if len(text) > PACKET:
                    return {"type": "websocket.disconnect", "code": 1009}
                if not self._messages.take(1, self._loop.time()):
                    return {"type": "websocket.disconnect", "code": 1008}
        return message

    async def send(self, message: Any) -> None:
        """The `send` that Engine.IO gets."""
        self._free.clear()
        try:
            await self._send(message)
        finally:
            self._free.set()
        # An event of Socket.IO: what `emitting` was told of.
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
