"""The relay on Redis, for the event loop of the relay server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ..errors import ConfigurationError, RelayUnavailableError
from .base import Answer, AsyncRelay, OnGap, OnNotice, Page, Read, RelayOptions, Request, Watcher
from .redis import TIMEOUT, connection_options, unavailable
from .redis_pubsub import Address, RedisWatcher
from .scripts import SCRIPTS, Calls, parse_answer, parse_page

MAX_CONNECTIONS = 16
SCRIPT_ENTRIES = 64  # more of a page are read without a script


class AsyncRedisRelay(AsyncRelay):
    """Requests as scripts on one Redis.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with redis-py's query options.
        options: what the requests have in common.
    """

    def __init__(self, url: str, options: RelayOptions) -> None:
        self._url = url
        defaults = {"max_connections": MAX_CONNECTIONS, "timeout": TIMEOUT}
        try:
            # No silent re-sending: whether and what to repeat is the caller's to decide.
            self._pool = BlockingConnectionPool.from_url(
                url, **{**connection_options(), **defaults, "retry": Retry(NoBackoff(), 0)}
            )
        except ValueError as error:
            raise ConfigurationError(f"stream_relay_url: {error}") from error
        self._redis: Redis = Redis(connection_pool=self._pool)
        # Entries as Redis sends them, not as dicts.
        self._redis.set_response_callback("XRANGE", _as_it_is)
        self._calls = Calls(options, database=int(self._pool.connection_kwargs.get("db") or 0))

    async def execute(self, requests: Sequence[Request]) -> list[Answer]:
        return [
            Answer("error", reason=str(raw)) if isinstance(raw, Exception) else parse_answer(raw)
            for raw in await self._run(requests)
        ]

    async def read(self, reads: Sequence[Read]) -> list[Page | None]:
        short = [replace(read, limit=min(read.limit, SCRIPT_ENTRIES)) for read in reads]
        answers = await self._run(short)
        for read, raw in zip(reads, answers, strict=True):
            if isinstance(raw, Exception):
                raise RelayUnavailableError(f"the relay refused to read {read.stream_id!r}: {raw}")
        await self._lengthen(reads, answers)
        return [parse_page(raw, read) for read, raw in zip(reads, answers, strict=True)]

    def watch(self, on_notice: OnNotice, on_gap: OnGap) -> Watcher:
        return RedisWatcher(self._address(), self._calls, on_notice, on_gap)

    async def ping(self) -> None:
        try:
            await self._redis.ping()
        except (exceptions.RedisError, OSError) as error:
            raise unavailable(self._url, error) from error

    async def close(self) -> None:
        await self._redis.aclose()
        await self._pool.disconnect()

    def _address(self) -> Address:
        given = self._pool.connection_kwargs
        tls = None
        if issubclass(self._pool.connection_class, SSLConnection):
            # redis-py knows its own TLS options; a connection that is never opened tells.
            tls = self._pool.connection_class(**given).ssl_context.get()
        return Address(
            host=given.get("host") or "localhost",
            port=int(given.get("port") or 6379),
            path=given.get("path") or "",
            tls=tls,
            username=given.get("username") or "",
            password=given.get("password") or "",
        )

    async def _run(self, requests: Sequence[Request | Read]) -> list[Any]:
        try:
            raw = await self._send(requests)
            missing = [
                index for index, item in enumerate(raw)
                if isinstance(item, exceptions.NoScriptError)
            ]  # fmt: skip
            if missing:
                for script in SCRIPTS.values():
                    await self._redis.script_load(script.text)
                again = await self._send([requests[index] for index in missing])
                for index, item in zip(missing, again, strict=True):
                    raw[index] = item
        except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
            raise unavailable(self._url, error) from error
        return raw

    async def _lengthen(self, reads: Sequence[Read], answers: list[Any]) -> None:
        """Add what a page may have beyond `SCRIPT_ENTRIES`, read without a script.

        Lua takes 30 times as long for an entry as XRANGE, and Redis serves nobody else meanwhile.
        What was read behind the first entries belongs to them if the state is still of the same
        attempt afterwards, because then the log was only appended to.
        """
        longer = [
            (read, raw) for read, raw in zip(reads, answers, strict=True)
            if raw and read.limit > SCRIPT_ENTRIES == len(raw[2])
        ]  # fmt: skip
        if not longer:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for read, (_, _, rows) in longer:
            key, start = self._calls.log_key(read.stream_id), b"(" + rows[-1][0]
            pipeline.execute_command("XRANGE", key, start, "+", "COUNT", read.limit - len(rows))
            pipeline.execute_command("EVALSHA", *self._calls.evalsha(Read(read.stream_id)))
        try:
            more = await pipeline.execute(raise_on_error=False)
        except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
            raise unavailable(self._url, error) from error
        for (_, raw), rows, after in zip(longer, more[::2], more[1::2], strict=True):
            read_well = isinstance(rows, list) and isinstance(after, list) and after
            if read_well and after[1][:2] == raw[1][:2]:
                raw[:] = [after[0], after[1], [*raw[2], *rows]]

    async def _send(self, requests: Sequence[Request | Read]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for request in requests:
            pipeline.execute_command("EVALSHA", *self._calls.evalsha(request))
        raw: list[Any] = await pipeline.execute(raise_on_error=False)
        return raw


def _as_it_is(response: Any, **_: Any) -> Any:
    return response
