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
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from ...backoff import Backoff
from ...cancellation import cancelled
from ...errors import MissingDependencyError
from ..base import OnGap, OnNotice, Watcher
from .scripts import Calls, parse_notice

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT = 5.0
PING_INTERVAL = 5.0
MIN_BACKOFF = 0.02
MAX_BACKOFF = 2.0
NAMES_A_COMMAND = 500

Locate = Callable[[], Awaitable["Address"]]
OnReply = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Address:
    """Where Redis is and how to log in, as redis-py read it.

    Attributes:
        provider: a `redis.CredentialProvider`, asked at each connection.
    """

    host: str = "localhost"
    port: int = 6379
    path: str = ""
    tls: ssl.SSLContext | None = None
    username: str = ""
    password: str = ""
    provider: Any = None
    client_name: str = ""

    async def greeting(self) -> list[tuple[str, ...]]:
        """The commands to begin a connection with."""
        commands: list[tuple[str, ...]] = []
        if self.provider is not None:
            commands.append(("AUTH", *await _credentials(self.provider)))
        elif self.username:
            commands.append(("AUTH", self.username, self.password))
        elif self.password:
            commands.append(("AUTH", self.password))
        if self.client_name:
            commands.append(("CLIENT", "SETNAME", self.client_name))
        return commands


async def _credentials(provider: Any) -> tuple[str, ...]:
    """Ask a provider for user and password, or a password alone.

    Raises:
        OSError: it fails, as it may when it asks a service that is away.
    """
    try:
        # redis-py before 5.3 has only the sync method.
        ask = getattr(provider, "get_credentials_async", None)
        found = await ask() if ask else await asyncio.to_thread(provider.get_credentials)
    except Exception as error:
        raise OSError(f"{type(provider).__name__}: {error!r}") from error
    return tuple(found)


async def _now(address: Address) -> Address:
    return address


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
        address: where to connect; a function is asked each time, and when it names another place
            the connection to the old one is given up.
        calls: names the channels, and says whether they are sharded.
        on_notice, on_gap: as `AsyncRelay.watch`.
        ping_interval: seconds between PINGs; a connection silent for two of them is given up.
        on_trouble: called when the connection is lost, or the server refuses something.
    """

    def __init__(
        self,
        address: Address | Locate,
        calls: Calls,
        on_notice: OnNotice,
        on_gap: OnGap,
        *,
        ping_interval: float = PING_INTERVAL,
        on_trouble: Callable[[], None] | None = None,
    ) -> None:
        hiredis_reader()
        self._locate = (lambda: _now(address)) if isinstance(address, Address) else address
        self._connected_to: Address | None = None
        self._on_trouble = on_trouble
        # In a cluster a command takes channels of one slot only.
        self._names_a_command = 1 if calls.sharded else NAMES_A_COMMAND
        shard = "S" if calls.sharded else ""
        self._subscribe, self._unsubscribe = f"{shard}SUBSCRIBE", f"{shard}UNSUBSCRIBE"
        self._message, self._confirmed = (
            f"{shard}message".lower().encode(), f"{shard}subscribe".lower().encode(),
        )  # fmt: skip
        self._calls = calls
        self._on_notice = on_notice
        self._on_gap = on_gap
        self._ping_interval = ping_interval
        self._streams: dict[bytes, str] = {}
        self._waiting: dict[bytes, list[asyncio.Future[None]]] = {}
        self._link: Link | None = None
        self._down = False  # the last attempt to connect failed
        self._told = False  # the log was told of it
        self._refused = False  # the log was told that Redis refuses something
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
            self._link.send(self._subscribe, channel.decode())
        await confirmed

    def unsubscribe(self, stream_id: str) -> None:
        channel = self._calls.channel(stream_id).encode()
        if self._streams.pop(channel, None) is None:
            return
        self._resubscribing.discard(channel)
        self._release([channel])
        if self._link is not None:
            self._link.send(self._unsubscribe, channel.decode())

    async def close(self) -> None:
        await cancelled(self._task)
        self._streams.clear()
        self._release(list(self._waiting))

    async def _run(self) -> None:
        backoff = Backoff(MIN_BACKOFF, MAX_BACKOFF, lambda: random.uniform(0.5, 1.0))
        while True:
            try:
                link = await self._connect()
            except (OSError, asyncio.TimeoutError) as error:
                if not self._told:
                    self._told = True
                    logger.warning("no notices: Redis cannot be reached (%s); trying again", error)
            else:
                try:
                    self._adopt(link)
                    if await self._keep(link):
                        backoff.reset()
                finally:
                    link.abort()
            self._lose()
            await asyncio.sleep(backoff.next())

    async def _connect(self) -> Link:
        """Open a connection and log in."""
        link = Link(self._on_reply)
        address = self._connected_to = await asyncio.wait_for(self._locate(), CONNECT_TIMEOUT)
        await asyncio.wait_for(self._open(link, address), CONNECT_TIMEOUT)
        try:
            for words in await asyncio.wait_for(address.greeting(), CONNECT_TIMEOUT):
                link.send(*words)
        except BaseException:
            link.abort()
            raise
        return link

    async def _open(self, link: Link, address: Address) -> None:
        loop = asyncio.get_running_loop()
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
        if self._told:
            self._told = False
            logger.info("Redis is there again")
        channels = list(self._streams)
        self._resubscribing = set(channels)
        for start in range(0, len(channels), self._names_a_command):
            end = start + self._names_a_command
            names = [channel.decode() for channel in channels[start:end]]
            link.send(self._subscribe, *names)
        if not channels:
            self._report_gap()

    async def _keep(self, link: Link) -> bool:
        """Return when the connection is lost or silent: whether it had lasted for a while."""
        lasted = False
        while True:
            await asyncio.wait([link.closed], timeout=self._ping_interval)
            if link.closed.done() or not link.heard or await self._moved():
                return lasted
            lasted = True
            link.heard = False
            link.send("PING")

    async def _moved(self) -> bool:
        """Whether another place is to be watched now; a primary may be demoted and go on."""
        try:
            address = await asyncio.wait_for(self._locate(), CONNECT_TIMEOUT)
        except (OSError, asyncio.TimeoutError):
            return False
        known = self._connected_to
        return known is not None and (address.host, address.port) != (known.host, known.port)

    def _lose(self) -> None:
        if self._on_trouble is not None:
            self._on_trouble()
        self._link = None
        self._down = self._missed = True
        self._release(list(self._waiting))

    def _on_reply(self, reply: Any) -> None:
        if type(reply) is list:
            kind = reply[0]
            if kind == self._message:
                self._on_message(reply[1], reply[2])
            elif kind == self._confirmed:
                self._on_confirmed(reply[1])
            elif kind == b"sunsubscribe" and reply[1] in self._streams and self._link is not None:
                # Not asked for: its slot was moved to another node.
                self._link.abort()
        elif isinstance(reply, Exception):
            # A wrong password, or no permission for the channel: the log is still read by and by.
            self._missed = True
            if self._on_trouble is None:
                if not self._refused:
                    self._refused = True
                    logger.error(
                        "readers see chunks late: Redis refuses notices (%s). The Redis user needs "
                        "SUBSCRIBE, PING and the channels of streams: see 'Users and rights' in "
                        "the documentation's page on Redis",
                        reply,
                    )
            elif self._link is not None:
                # A channel of another node: it is not said which, so all are asked for again.
                self._link.abort()
            self._release(list(self._waiting))

    def _on_message(self, channel: bytes, message: bytes) -> None:
        stream_id = self._streams.get(channel)
        if stream_id is None:
            return
        try:
            notice = parse_notice(message)
        except ValueError:
            about = {"stream_id": stream_id}
            logger.error("stream %s: a malformed notice was left out", stream_id, extra=about)
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
