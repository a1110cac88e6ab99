"""A TCP proxy that loses single answers: what was asked is carried out, nobody learns of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable


class LossyProxy:
    """Forwards bytes to a port of this machine.

    Args:
        port: where to.
        loses: told each piece of a request; True: its answer is lost, with the connection.

    Attributes:
        port: its own.
        lost: how many answers were lost.
    """

    def __init__(self, port: int, loses: Callable[[bytes], bool]) -> None:
        self._target = port
        self._loses = loses
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0
        self.lost = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[LossyProxy]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(asyncio.ensure_future(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        losing = asyncio.Event()

        async def ask() -> None:
            while piece := await reader.read(2**16):
                if self._loses(piece):
                    losing.set()
                back.write(piece)
                await back.drain()

        async def answer() -> None:
            while piece := await there.read(2**16):
                if losing.is_set():
                    self.lost += 1
                    return
                writer.write(piece)
                await writer.drain()

        tasks = [asyncio.ensure_future(ask()), asyncio.ensure_future(answer())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for end in (back, writer):
                end.close()
            await asyncio.gather(
                *tasks, back.wait_closed(), writer.wait_closed(), return_exceptions=True
            )


def once(words: bytes, nth: int = 1) -> Callable[[bytes], bool]:
    """True for the `nth` piece that contains these words."""
    seen = 0

    def loses(piece: bytes) -> bool:
        nonlocal seen
        seen += words in piece
        return words in piece and seen == nth

    return loses
