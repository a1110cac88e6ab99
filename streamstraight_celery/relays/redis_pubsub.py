"""Notices from Redis: one pub/sub connection for all streams of a relay process.

Spoken straight to the socket with hiredis, because one message costs 2 to 22 us this way and 13 to
64 us through `redis.asyncio`. What is published is only a hint (`lua/README.md`), so nothing is
repeated here: after a reconnect `on_gap` says that notices may have been missed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from ..errors import MissingDependencyError
from .base import OnGap, OnNotice, Watcher
from .scripts import Calls, parse_notice

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT = 5.0
PING_INTERVAL = 5.0
MIN_BACKOFF = 0.02
MAX_BACKOFF = 2.0
NAMES_A_COMMAND = 500

OnReply = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Address:
    """Where Redis is and how to log in, as redis-py read it from the URL."""

    host: str = "localhost"
    port: int = 6379
    path: str = ""
    tls: ssl.SSLContext | None = None
    username: str = ""
    password: str = ""

    def login(self) -> list[tuple[str, ...]]:
        """The commands to begin a connection with."""
        if not self.password:
            return []
        if self.username:
            return [("AUTH", self.username, self.password)]
        return [("AUTH", self.password)]


def hiredis_reader() -> Any:
    """A parser of the Redis protocol.

    Raises:
        MissingDependencyError: hiredis is not installed.
    """
    try:
        import hiredis
    except ImportError as error:
        raise MissingDependencyError("hiredis", "relay") from error
    return hiredis.Reader()


def pack(*words: str) -> bytes:
    """One command in the Redis protocol."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        raw = word.encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(raw), raw))
    return b"".join(parts)


class Link(asyncio.Protocol):
    """One connection: commands out, parsed replies in."""

    def __init__(self, on_reply: OnReply) -> None:
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.heard = True  # something came since the last look at this
        self._on_reply = on_reply
        self._parser = hiredis_reader()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.heard = True
        self._parser.feed(data)
        on_reply = self._on_reply
        while (reply := self._parser.gets()) is not False:
            on_reply(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    def send(self, *words: str) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(pack(*words))

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class RedisWatcher(Watcher):
    """Keeps one connection subscribed to the channels of all streams asked for.

    Args:
        address: where to connect.
        calls: names the channels.
        on_notice, on_gap: as `AsyncRelay.watch`.
        ping_interval: seconds between PINGs; a connection silent for two of them is given up.
    """

    def __init__(
        self,
        address: Address,
        calls: Calls,
        on_notice: OnNotice,
        on_gap: OnGap,
        *,
        ping_interval: float = PING_INTERVAL,
    ) -> None:
        hiredis_reader()
        self._address = address
        self._calls = calls
        self._on_notice = on_notice
        self._on_gap = on_gap
        self._ping_interval = ping_interval
        self._streams: dict[bytes, str] = {}
        self._waiting: dict[bytes, list[asyncio.Future[None]]] = {}
        self._link: Link | None = None
        self._down = False  # the last attempt to connect failed
        self._missed = False  # notices may have been missed since the last on_gap
        self._resubscribing: set[bytes] = set()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def subscribe(self, stream_id: str) -> None:
        channel = self._calls.channel(stream_id).encode()
        known = channel in self._streams
        self._streams[channel] = stream_id
        if self._down or (known and channel not in self._waiting):
            return
        confirmed = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(channel, []).append(confirmed)
        if self._link is not None and not known:
            self._link.send("SUBSCRIBE", channel.decode())
        await confirmed

    def unsubscribe(self, stream_id: str) -> None:
        channel = self._calls.channel(stream_id).encode()
        if self._streams.pop(channel, None) is None:
            return
        self._resubscribing.discard(channel)
        self._release([channel])
        if self._link is not None:
            self._link.send("UNSUBSCRIBE", channel.decode())

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        self._streams.clear()
        self._release(list(self._waiting))

    async def _run(self) -> None:
        delay = MIN_BACKOFF
        while True:
            try:
                link = await self._connect()
            except (OSError, asyncio.TimeoutError) as error:
                if not self._down:
                    logger.warning("no notices: Redis cannot be reached (%s); trying again", error)
            else:
                try:
                    self._adopt(link)
                    if await self._keep(link):
                        delay = MIN_BACKOFF
                finally:
                    link.abort()
            self._lose()
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(MAX_BACKOFF, delay * 2)

    async def _connect(self) -> Link:
        """Open a connection and log in."""
        link = Link(self._on_reply)
        await asyncio.wait_for(self._open(link), CONNECT_TIMEOUT)
        for words in self._address.login():
            link.send(*words)
        return link

    async def _open(self, link: Link) -> None:
        loop = asyncio.get_running_loop()
        address = self._address
        if address.path:
            await loop.create_unix_connection(lambda: link, address.path)
        else:
            name = address.host if address.tls else None
            await loop.create_connection(
                lambda: link, address.host, address.port, ssl=address.tls, server_hostname=name
            )

    def _adopt(self, link: Link) -> None:
        """Subscribe a new connection to everything."""
        self._link = link
        self._down = False
        channels = list(self._streams)
        self._resubscribing = set(channels)
        for start in range(0, len(channels), NAMES_A_COMMAND):
            names = [channel.decode() for channel in channels[start : start + NAMES_A_COMMAND]]
            link.send("SUBSCRIBE", *names)
        if not channels:
            self._report_gap()

    async def _keep(self, link: Link) -> bool:
        """Return when the connection is lost or silent: whether it had lasted for a while."""
        lasted = False
        while True:
            await asyncio.wait([link.closed], timeout=self._ping_interval)
            if link.closed.done() or not link.heard:
                return lasted
            lasted = True
            link.heard = False
            link.send("PING")

    def _lose(self) -> None:
        self._link = None
        self._down = self._missed = True
        self._release(list(self._waiting))

    def _on_reply(self, reply: Any) -> None:
        if type(reply) is list:
            kind = reply[0]
            if kind == b"message":
                self._on_message(reply[1], reply[2])
            elif kind == b"subscribe":
                self._on_confirmed(reply[1])
        elif isinstance(reply, Exception):
            # A wrong password, or no permission for the channel: the log is still read by and by.
            logger.error("no notices: Redis refuses (%s)", reply)
            self._missed = True
            self._release(list(self._waiting))

    def _on_message(self, channel: bytes, message: bytes) -> None:
        stream_id = self._streams.get(channel)
        if stream_id is None:
            return
        try:
            notice = parse_notice(message)
        except ValueError:
            logger.error("a malformed notice on %r was left out", channel)
            return
        self._on_notice(stream_id, notice)

    def _on_confirmed(self, channel: bytes) -> None:
        self._release([channel])
        if self._resubscribing:
            self._resubscribing.discard(channel)
            if not self._resubscribing:
                self._report_gap()

    def _report_gap(self) -> None:
        if self._missed:
            self._missed = False
            self._on_gap()

    def _release(self, channels: list[bytes]) -> None:
        for channel in channels:
            for waiting in self._waiting.pop(channel, ()):
                if not waiting.done():
                    waiting.set_result(None)
