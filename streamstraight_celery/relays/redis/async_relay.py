"""The relay on Redis, for the event loop of the relay server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from redis import exceptions
from redis.asyncio import ConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ..base import AsyncRelay, OnGap, OnNotice, Page, RelayOptions
from ..requests import Answer, Read, Request
from ..urls import SENTINEL_SCHEMES, unreadable
from .pubsub import Address, RedisWatcher
from .relay import (
    as_answer,
    as_page,
    check_connection,
    connection_options,
    unavailable,
)
from .scripts import PUBLISH, SCRIPTS, Calls
from .sentinel import async_sentinel_client

MAX_CONNECTIONS = 16
SCRIPT_ENTRIES = 64  # more of a page are read without a script
# What says that Redis was not reached. uvloop raises RuntimeError where asyncio raises OSError: for
# a write to a connection that was lost a moment ago.
LOST = (exceptions.RedisError, OSError, RuntimeError)


class AsyncRedisRelay(AsyncRelay):
    """Requests as scripts on one Redis.

    Args:
        url: `redis://`, `rediss://`, `unix://` or `redis+sentinel://`, with redis-py's options in
            its query.
        options: what the requests have in common.
        publish, in_cluster: as `Calls`.
        connection: more options of redis-py's connections, as in `stream_relay_options`.
    """

    def __init__(
        self,
        url: str,
        options: RelayOptions,
        *,
        publish: bytes = PUBLISH,
        connection: Mapping[str, Any] | None = None,
        in_cluster: bool = False,
    ) -> None:
        self._url = url
        self._sentinels: Any = None
        # Beyond that many, requests wait for a connection.
        self._turn = asyncio.Semaphore(MAX_CONNECTIONS)
        # No silent re-sending: whether and what to repeat is the caller's to decide.
        given = {**connection_options(url, connection), "retry": Retry(NoBackoff(), 0)}
        if url.startswith(SENTINEL_SCHEMES):
            self._redis, self._sentinels = async_sentinel_client(url, given)
        else:
            try:
                self._redis = Redis(connection_pool=ConnectionPool.from_url(url, **given))
            except ValueError as error:
                raise unreadable(error) from None
        self._pool: Any = self._redis.connection_pool
        check_connection(self._pool)
        # Entries as Redis sends them, not as dicts.
        self._redis.set_response_callback("XRANGE", _as_it_is)
        database = int(self._pool.connection_kwargs.get("db") or 0)
        self._calls = Calls(options, database=database, publish=publish, in_cluster=in_cluster)

    async def execute(self, requests: Sequence[Request]) -> list[Answer]:
        return [as_answer(raw) for raw in await self.run(requests)]

    async def read(self, reads: Sequence[Read]) -> list[Page | None]:
        answers = await self.run_reads(reads)
        return [as_page(raw, read) for read, raw in zip(reads, answers, strict=True)]

    @property
    def places(self) -> Sequence[str]:
        return self._calls.places

    async def scan(self, cursor: str) -> tuple[Sequence[str], str]:
        words = ("SCAN", cursor, "MATCH", self._calls.every_state_key(), "COUNT", "1000")
        following, keys = await self.ask(*words)
        return [self._calls.stream_id_of_state(key.decode()) for key in keys], following.decode()

    def watch(
        self, on_notice: OnNotice, on_gap: OnGap, *, on_trouble: Callable[[], None] | None = None
    ) -> RedisWatcher:
        return RedisWatcher(self.address, self._calls, on_notice, on_gap, on_trouble=on_trouble)

    async def ping(self) -> None:
        try:
            await self._redis.ping()
        except LOST as error:
            raise unavailable(self._url, error) from error

    async def close(self) -> None:
        await self._redis.aclose()
        await self._pool.disconnect()
        for sentinel in self._sentinels.sentinels if self._sentinels else ():
            await sentinel.aclose()

    async def ask(self, *words: str | bytes) -> Any:
        """The plain answer to a command of Redis.

        Raises:
            RelayUnavailableError: Redis was not reached, or refused it.
        """
        connection = None
        try:
            connection = await self._pool.get_connection()
            await connection.send_command(*words)
            return await connection.read_response()
        except LOST as error:
            if connection is not None:
                await connection.disconnect()
            raise unavailable(self._url, error) from error
        finally:
            if connection is not None:
                await self._pool.release(connection)

    async def address(self) -> Address:
        """Where to connect now.

        Raises:
            OSError: the sentinels know of no primary.
        """
        if self._sentinels is None:
            return self._address()
        try:
            host, port = await self._sentinels.discover_master(self._pool.service_name)
        except LOST as error:
            raise OSError(f"the sentinels know of no primary: {error}") from error
        return self._address(host, port)

    def _address(self, host: str = "", port: int = 0) -> Address:
        given = self._pool.connection_kwargs
        tls = None
        if issubclass(self._pool.connection_class, SSLConnection):
            # redis-py knows its own TLS options; a connection that is never opened tells.
            tls = self._pool.connection_class(**given).ssl_context.get()
        return Address(
            host=host or given.get("host") or "localhost",
            port=port or int(given.get("port") or 6379),
            path=given.get("path") or "",
            tls=tls,
            username=given.get("username") or "",
            password=given.get("password") or "",
            provider=given.get("credential_provider"),
            client_name=given.get("client_name") or "",
        )

    async def run_reads(self, reads: Sequence[Read], *, asking: bool = False) -> list[Any]:
        """As `run`; what the script leaves out of long pages is read without it.

        Raises:
            RelayUnavailableError: as `execute`.
        """
        short = [replace(read, limit=min(read.limit, SCRIPT_ENTRIES)) for read in reads]
        answers = await self.run(short, asking=asking)
        if not asking:
            # Else pages are short, for a while.
            await self._lengthen(reads, answers)
        return answers

    async def run(self, requests: Sequence[Request | Read], *, asking: bool = False) -> list[Any]:
        """What the scripts answer, or the exception with which Redis refused a request.

        Args:
            asking: this is the node of a cluster to which the streams are on their way.

        Raises:
            RelayUnavailableError: as `execute`.
        """
        try:
            raw = await self._send(requests, asking)
            missing = [
                index for index, item in enumerate(raw)
                if isinstance(item, exceptions.NoScriptError)
            ]  # fmt: skip
            if missing:
                for script in SCRIPTS.values():
                    await self._redis.script_load(script.text)
                again = await self._send([requests[index] for index in missing], asking)
                for index, item in zip(missing, again, strict=True):
                    raw[index] = item
        except LOST as error:
            raise unavailable(self._url, error) from error
        self._calls.note_unheard(raw)
        return raw

    async def _lengthen(self, reads: Sequence[Read], answers: list[Any]) -> None:
        """Add what a page may have beyond `SCRIPT_ENTRIES`, read without a script.

        Lua takes 30 times as long for an entry as XRANGE, and Redis serves nobody else meanwhile.
        What was read behind the first entries belongs to them if the state is still of the same
        attempt afterwards, because then the log was only appended to.
        """
        longer = [
            (read, raw) for read, raw in zip(reads, answers, strict=True)
            if isinstance(raw, list) and raw and read.limit > SCRIPT_ENTRIES == len(raw[2])
        ]  # fmt: skip
        if not longer:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for read, (_, _, rows) in longer:
            key, start = self._calls.log_key(read.stream_id), b"(" + rows[-1][0]
            pipeline.execute_command("XRANGE", key, start, "+", "COUNT", read.limit - len(rows))
            pipeline.execute_command("EVALSHA", *self._calls.evalsha(Read(read.stream_id)))
        try:
            async with self._turn:
                more = await pipeline.execute(raise_on_error=False)
        except LOST as error:
            raise unavailable(self._url, error) from error
        for (_, raw), rows, after in zip(longer, more[::2], more[1::2], strict=True):
            read_well = isinstance(rows, list) and isinstance(after, list) and after
            if read_well and after[1][:2] == raw[1][:2]:
                raw[:] = [after[0], after[1], [*raw[2], *rows]]

    async def _send(self, requests: Sequence[Request | Read], asking: bool) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for command in self._calls.commands(requests, asking):
            pipeline.execute_command(*command)
        async with self._turn:
            raw: list[Any] = await pipeline.execute(raise_on_error=False)
        return raw[1::2] if asking else raw


def _as_it_is(response: Any, **_: Any) -> Any:
    return response
