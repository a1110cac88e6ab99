"""A TCP proxy whose connections fail as a test says. It runs on its own thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Literal

Direction = Literal["requests", "replies"]
OneShot = Literal["half", "swallow"]


class Proxy:
    """Listens on `port` of 127.0.0.1 and passes on to `target`, another port of it.

    Faults strike all connections: `cut` ends them, `freeze` holds all bytes back until `thaw`,
    `refuse` takes no new ones until `accept`. `once` arms a fault for the next bytes that pass in
    one direction: `half` of them pass, or none (`swallow`), and then the connection is cut.
    `lose_replies` carries out a request whose reply never arrives.

    Args:
        target: the port to pass on to.
        reply_bytes: asked for each new connection; it is cut after so many bytes of replies.

    Attributes:
        connections: how many were accepted.
        refused: how many were not.
        struck: how many one-shot faults have struck.
        lost: how many replies were lost.
    """

    def __init__(self, target: int, *, reply_bytes: Callable[[], int] | None = None) -> None:
        self.target = target
        self.port = 0
        self.connections = 0
        self.refused = 0
        self.struck = 0
        self.lost = 0
        self._reply_bytes = reply_bytes
        self._loses: Callable[[bytes], bool] = lambda _: False
        self._armed: list[tuple[Direction, OneShot]] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._refusing = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._flowing = self._call(self._event())
        self._server = self._call(self._listen())

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """End all connections, without a farewell."""
        self._do(self._cut)

    def freeze(self) -> None:
        """Hold back what is sent from now on; connections stay."""
        self._do(self._flowing.clear)

    def thaw(self) -> None:
        """Pass on what was held back."""
        self._do(self._flowing.set)

    def refuse(self) -> None:
        """End all connections and let nobody in."""
        self._refusing = True
        self.cut()

    def accept(self) -> None:
        """Let callers in again."""
        self._refusing = False

    def once(self, direction: Direction, fault: OneShot, times: int = 1) -> None:
        """Strike at the next bytes in that direction."""
        self._armed += [(direction, fault)] * times

    def lose_replies(self, to: Callable[[bytes], bool]) -> None:
        """Lose the reply to each piece of a request for which `to` is true, and cut there."""
        self._loses = to

    def disarm(self) -> None:
        """Forget what has not struck yet."""
        self._armed.clear()

    def heal(self) -> None:
        """Be a good network again."""
        self.disarm()
        self.accept()
        self.thaw()

    def close(self) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Callable[[], object]) -> None:
        """Run on the proxy's loop; return when it is done."""

        async def run() -> None:
            work()

        self._call(run())

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _event(self) -> asyncio.Event:
        flowing = asyncio.Event()
        flowing.set()
        return flowing

    async def _listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _close(self) -> None:
        self._server.close()
        self._flowing.set()
        self._cut()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cut(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            self.refused += 1
            writer.transport.abort()
            return
        self.connections += 1
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._open |= both
        losing = asyncio.Event()
        try:
            ways = [
                asyncio.ensure_future(self._pass_requests(reader, far_writer, losing)),
                asyncio.ensure_future(self._pass_replies(far_reader, writer, losing)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            self._open -= both
            for each in both:
                each.transport.abort()

    async def _pass_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                if self._loses(data):
                    losing.set()
                if not await self._write(writer, data, "requests"):
                    return
            await _flush(writer)

    async def _pass_replies(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        left = self._reply_bytes() if self._reply_bytes else None
        with contextlib.suppress(OSError):
            while left != 0 and (data := await reader.read(65536 if left is None else left)):
                await self._flowing.wait()
                if losing.is_set():
                    self.lost += 1
                    return
                if not await self._write(writer, data, "replies"):
                    return
                if left is not None:
                    left -= len(data)
            await _flush(writer)

    async def _write(self, writer: asyncio.StreamWriter, data: bytes, way: Direction) -> bool:
        """Pass on bytes, or strike; whether the connection stays."""
        fault = next((each for armed, each in self._armed if armed == way), None)
        if fault is not None:
            self._armed.remove((way, fault))
            self.struck += 1
            data = data[: len(data) // 2] if fault == "half" else b""
        writer.write(data)
        await writer.drain()
        return fault is None


async def _flush(writer: asyncio.StreamWriter) -> None:
    """Close a connection once everything written has left."""
    writer.close()
    await writer.wait_closed()


def once(words: bytes, nth: int = 1) -> Callable[[bytes], bool]:
    """For `lose_replies`: true for the `nth` piece of requests that contains these words."""
    seen = 0

    def accepts(piece: bytes) -> bool:
        nonlocal seen
        seen += words in piece
        return words in piece and seen == nth

    return accepts
