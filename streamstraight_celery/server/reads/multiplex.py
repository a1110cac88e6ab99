"""Many streams over one connection: `POST /v1/streams`.

Browsers open at most six HTTP/1.1 connections to a host, over all tabs. The body names the streams:

    {"streams": [{"id": "...", "token": "...", "offset": "-1"}, ...]}

The answer is one response of server-sent events. `event: stream` says by its number in that list
whose frames follow, up to the next of its kind; the frames are those of `GET /v1/stream/<id>`, the
same bytes that other readers get. `event: refused` stands for any answer of that GET but a
stream: `{"status", "body"}` and what it says in headers. `event: closed` ends one stream's part,
after its end or without one: then its reader comes back, as from a response of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ...cancellation import cancelled
from ...errors import ConfigurationError, RelayUnavailableError, StreamNotFoundError
from ...ids import check_stream_id
from ..counters import SHARED, Tally
from ..fast_path import Wire
from ..http import (
    Headers,
    Message,
    Receive,
    Refused,
    Reply,
    Request,
    Send,
    disconnected,
    not_found,
    query_fields,
    read_body,
    start_message,
)
from . import durable
from .sse_response import SseConnection

if TYPE_CHECKING:
    from ...tokens import Grant
    from .handlers import Reading

logger = logging.getLogger(__name__)

PATH = "/v1/streams"
MAX_STREAMS = 100
MAX_COPIES = 4  # a page may show a stream in several places
MAX_BODY = 512 * 1024
# What each stream has of its own: clients that come back put these before the whole response.
_OWN = ("authorization", "last-event-id", "if-none-match")


@dataclass(frozen=True, slots=True)
class Part:
    """One of the streams that a body names."""

    stream_id: str
    request: Request


class Multiplexer:
    """One response with the frames of many streams.

    Args:
        common: the headers that each response to a request carries.
        grant: what a request's token allows of a stream; raises `Refused`.
        reading: makes each stream's connection.
        unavailable: the answer to a relay that does not answer.
        tally: where to count.
        send_timeout: seconds that one send may take.
    """

    def __init__(
        self,
        common: Callable[[Request], Headers],
        grant: Callable[[Request, str, str], Awaitable[Grant]],
        reading: Callable[[], Reading],
        unavailable: Callable[[RelayUnavailableError], Reply],
        tally: Tally,
        send_timeout: float,
    ) -> None:
        self._common = common
        self._grant = grant
        self._reading = reading
        self._unavailable = unavailable
        self._tally = tally
        self._send_timeout = send_timeout

    async def serve(
        self, request: Request, receive: Receive, send: Send, wire: Wire | None
    ) -> None:
        """Answer one request until all of its streams are over, or the client is gone or takes
        nothing; `wire` is the server's shortcut, if it has one.
        """
        common = self._common(request)
        try:
            parts = parse_parts(await read_body(receive, MAX_BODY), request)
        except Refused as refused:
            reply = refused.reply()
            self._tally.answered(request, reply)
            await send_reply(send, reply, common)
            return
        headers = (*durable.sse_headers(), *common)
        await send(start_message(200, headers))
        line = _Line(send)
        gone = asyncio.Event()
        leaving = asyncio.ensure_future(gone.wait())
        streams = [
            asyncio.ensure_future(self._stream(number, each, line, gone))
            for number, each in enumerate(parts)
        ]
        whole = asyncio.ensure_future(_whole(streams, line, gone))
        watching = asyncio.ensure_future(_watch(receive, gone))
        try:
            await self._until_over(whole, leaving, line)
            if not gone.is_set() and not whole.done():
                self._tally.dropped += 1
                gone.set()
            if wire is not None and gone.is_set():
                wire.abort()
        finally:
            await cancelled(*streams, whole, watching, leaving)

    async def _until_over(
        self, whole: asyncio.Future[None], leaving: asyncio.Future[Any], line: _Line
    ) -> None:
        """Return when all is sent, the client is gone, or it has taken nothing for too long.

        Streams look after their own sends; not all that is sent is of one that still goes on.
        """
        under_way = 0
        while True:
            done, _ = await asyncio.wait(
                (whole, leaving),
                timeout=self._send_timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if done or (under_way and under_way == line.under_way):
                return
            under_way = line.under_way

    async def _stream(self, number: int, part: Part, line: _Line, gone: asyncio.Event) -> None:
        """One stream's part of the response."""
        try:
            connection = await self._open(part)
            if isinstance(connection, Reply):
                self._tally.answered(part.request, connection)
                await line.write(number, refused_frame(connection))
            else:
                for name, value in connection.frames.headers:
                    if name == "stream-content-type":
                        await line.write(number, b"event: content\ndata:%b\n\n" % value.encode())
                await connection.serve(
                    {"type": "head"}, _until(gone), line.sender(number, connection)
                )
                if connection.left:
                    gone.set()  # the client left, or takes nothing: then no stream's part goes on
        except OSError:
            gone.set()
        except Exception:
            about = {"stream_id": part.stream_id}
            logger.exception("stream %s failed in a shared response", part.stream_id, extra=about)
        if not gone.is_set():
            await line.write(number, b"event: closed\ndata:{}\n\n")

    async def _open(self, part: Part) -> SseConnection | Reply:
        request = part.request
        try:
            check_stream_id(part.stream_id)
            grant = await self._grant(request, part.stream_id, "read")
            call = durable.parse_read(request)
            lifetime = grant.expires_at - time.time()
            return await self._reading().stream(
                part.stream_id, call, lifetime, None, counts_as=SHARED
            )
        except Refused as refused:
            return refused.reply()
        except (StreamNotFoundError, ConfigurationError):
            return not_found().reply()
        except RelayUnavailableError as error:
            return self._unavailable(error)


class _Line:
    """The one response, written by all streams: each write whole, with whose it is before it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._lock = asyncio.Lock()
        self._sends = 0
        self._number = -1
        self._writing: set[SseConnection] = set()

    async def write(self, number: int, data: bytes) -> None:
        async with self._lock:
            self._sends += 1
            if number != self._number:
                self._number = number
                data = b"event: stream\ndata:%d\n\n%b" % (number, data)
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
        for each in self._writing:
            each.taken()

    async def end(self) -> None:
        """Nothing more follows."""
        async with self._lock:
            self._sends += 1
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    @property
    def under_way(self) -> int:
        """Which send is under way, from 1; 0: none is."""
        return self._sends if self._lock.locked() else 0

    def sender(
        self, number: int, connection: SseConnection
    ) -> Callable[[Message], Awaitable[None]]:
        """What a stream's own connection takes for the server."""

        async def send(message: Message) -> None:
            if message.get("body"):
                self._writing.add(connection)
                try:
                    await self.write(number, message["body"])
                finally:
                    self._writing.discard(connection)

        return send


def parse_parts(body: bytes, request: Request) -> list[Part]:
    """Read which streams are asked for, each as the request that would read it alone.

    Raises:
        Refused: 400, the body is malformed.
    """
    try:
        listed = json.loads(body)["streams"]
        fields = [{**each} for each in listed]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Refused(400, "bad-request", 'the body is {"streams": [{"id", "token"}]}') from None
    if not 0 < len(fields) <= MAX_STREAMS:
        raise Refused(400, "bad-request", f"ask for 1 to {MAX_STREAMS} streams at once")
    parts = [_part(each, request) for each in fields]
    (_, copies), *_ = Counter(part.stream_id for part in parts).most_common(1)
    if copies > MAX_COPIES:
        raise Refused(400, "bad-request", f"ask for a stream at most {MAX_COPIES} times at once")
    return parts


def _part(fields: dict[str, Any], request: Request) -> Part:
    known = {"id": "", "token": "", "offset": "-1", "cursor": "", "frames": ""}
    texts = {name: fields.get(name, default) for name, default in known.items()}
    # A JSON string may hold half of a surrogate pair, which nothing in a request can.
    if not all(isinstance(text, str) and _is_text(text) for text in texts.values()):
        raise Refused(400, "bad-request", "id, token, offset, cursor and frames are strings")
    headers = {name: value for name, value in request.headers.items() if name not in _OWN}
    if texts["token"]:
        headers["authorization"] = f"Bearer {texts['token']}"
    asked = {name: texts[name] for name in ("offset", "cursor", "frames")}
    wait = query_fields(request.query).get("wait", "0")
    query = urlencode({"live": "sse", "wait": wait, **asked})
    return Part(texts["id"], replace(request, query=query, headers=headers))


def _is_text(string: str) -> bool:
    try:
        string.encode()
    except UnicodeEncodeError:
        return False
    return True


def refused_frame(reply: Reply) -> bytes:
    """What stands for a stream's own answer other than 200."""
    headers = dict(reply.headers)
    shown: dict[str, object] = {"status": reply.status, "body": reply.body.decode()}
    for name in ("retry-after", "stream-closed", "stream-end-reason"):
        if name in headers:
            shown[name] = headers[name]
    text = json.dumps(shown, separators=(",", ":"))
    return f"event: refused\ndata:{text}\n\n".encode()


async def send_reply(send: Send, reply: Reply, common: Headers) -> None:
    """A whole answer."""
    headers = (*reply.headers, ("content-length", str(len(reply.body))), *common)
    await send(start_message(reply.status, headers))
    await send({"type": "http.response.body", "body": reply.body, "more_body": False})


def _until(gone: asyncio.Event) -> Receive:
    """A `receive` that gives only the disconnect."""

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    return receive


async def _whole(streams: Sequence[asyncio.Future[None]], line: _Line, gone: asyncio.Event) -> None:
    """All streams' parts, and the end of the response."""
    await asyncio.gather(*streams)
    try:
        if not gone.is_set():
            await line.end()
    except OSError:
        gone.set()  # some servers raise when the client is gone


async def _watch(receive: Receive, gone: asyncio.Event) -> None:
    await disconnected(receive)
    gone.set()
