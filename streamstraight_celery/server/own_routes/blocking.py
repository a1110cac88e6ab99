"""An answer for a server that waits for each part of it (WSGI).

The answer is produced on the process' event loop (`os_threads`), so that all requests of the
process share one hub and its connections. Two threads pass it on, a message at a time: what the
server has not sent yet holds up nobody but its own reader.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

from ...os_threads import Mailbox, loop_thread
from ..http import Message, Request
from ..reads.hubs import Hubs
from .answer import serve
from .options import Wanted


class BlockingAnswer:
    """An iterator over the body, with `close`, as WSGI servers take it.

    It ends when the answer is complete. One that is not is cut off: `ConnectionResetError`, which
    servers take for a client that is gone, so they close the connection without a word.

    Args:
        hubs, stream_id, request, wanted: as `serve`.

    Attributes:
        status, headers: of the response.

    Raises:
        Exception: whatever prevented an answer.
    """

    def __init__(self, hubs: Hubs, stream_id: str, request: Request, wanted: Wanted) -> None:
        self._loop = loop_thread()
        self._passing = _Passing()
        # Also without a close(): a view may fail after it has made its answer.
        self._leave = weakref.finalize(self, _leave, self._loop, self._passing)
        self._leave.atexit = False
        answering = self._passing.run(functools.partial(serve, hubs, stream_id, request, wanted))
        asyncio.run_coroutine_threadsafe(answering, self._loop)
        head = self._passing.next()
        self.status: int = head["status"]
        self.headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in head["headers"]
        ]
        self._complete = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while not self._complete:
            self._loop.call_soon_threadsafe(self._passing.taken.set)
            message = self._passing.next()
            self._complete = not message.get("more_body", False)
            if part := message.get("body", b""):
                found: bytes = part
                return found
        self.close()
        raise StopIteration

    def close(self) -> None:
        """The response is over, or its client has gone."""
        self._leave()


class _Passing:
    """What passes between the event loop and the server's thread."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.taken = asyncio.Event()
        self._mail: Mailbox[Message | BaseException] = Mailbox()

    async def run(self, answering: Any) -> None:
        """Answer; on the loop."""
        outcome: BaseException = ConnectionResetError(
            errno.ECONNRESET, "the answer is not complete, so its connection is cut"
        )
        try:
            await answering(self._receive, self._send)
        except Exception as error:
            outcome = error
        finally:
            self._mail.put(outcome)

    def next(self) -> Message:
        """The next message, for the server's thread."""
        found = self._mail.get()
        if isinstance(found, BaseException):
            raise found
        return found

    async def _receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if not self.gone.is_set():
            self.taken.clear()
            self._mail.put(message)
            # The server asks for the next part when it has sent this one.
            await self.taken.wait()


def _leave(loop: asyncio.AbstractEventLoop, passing: _Passing) -> None:
    def leave() -> None:
        passing.gone.set()
        passing.taken.set()

    loop.call_soon_threadsafe(leave)


def request_of_environ(environ: Mapping[str, Any]) -> Request:
    """The request that a WSGI environment describes."""
    headers = {
        name[5:].replace("_", "-").lower(): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    return Request(
        environ["REQUEST_METHOD"],
        environ.get("PATH_INFO", "/"),
        environ.get("QUERY_STRING", ""),
        headers,
        environ.get("wsgi.url_scheme", "http"),
        environ.get("REMOTE_ADDR", ""),
    )
