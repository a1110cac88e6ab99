"""The relay on Redis, for workers and web routes."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import redis
import redis.exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..errors import ConfigurationError, RelayUnavailableError
from .base import Answer, Page, Read, Relay, RelayOptions, Request
from .scripts import SCRIPTS, Calls, parse_answer, parse_page

SCHEMES = ("redis", "rediss", "unix")
TIMEOUT = 5.0
# A connection used in the last so many seconds is used again without asking whether it still lives,
# which costs more than all the rest of a request.
RECENT = 1.0
# Requests in one write: Redis works on the first while the next are being packed.
AT_ONCE = 4


def connection_options() -> dict[str, Any]:
    """How our clients connect; the URL's own query may override it."""
    return {
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
        "socket_keepalive": True,
        # RESP2: the scripts' answers have one shape on every server version.
        "protocol": 2,
    }


def unavailable(url: str, error: Exception) -> RelayUnavailableError:
    """The error for a Redis that does not answer; the password is not shown."""
    return RelayUnavailableError(
        f"the relay at {without_password(url)} does not answer ({error}). Is Redis running there? "
        "Set stream_relay_url to where it is, or start one: redis-server"
    )


def without_password(url: str) -> str:
    """The URL as it may stand in a message or a log."""
    scheme, separator, rest = url.partition("://")
    credentials, at, host = rest.rpartition("@")
    if not at:
        return url
    user = credentials.partition(":")[0]
    return f"{scheme}{separator}{user}:***@{host}"


class RedisRelay(Relay):
    """Requests as scripts on one Redis.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with redis-py's query options.
        options: what the requests have in common.
    """

    def __init__(self, url: str, options: RelayOptions) -> None:
        self._url = url
        try:
            # No silent re-sending: whether and what to repeat is the caller's to decide.
            self._redis = redis.Redis.from_url(
                url, **{**connection_options(), "retry": Retry(NoBackoff(), 0)}
            )
        except ValueError as error:
            raise ConfigurationError(f"stream_relay_url: {error}") from error
        database = self._redis.connection_pool.connection_kwargs.get("db") or 0
        self._calls = Calls(options, database=int(database))
        self._pid = os.getpid()
        self._recent: deque[tuple[Any, float]] = deque()

    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        answers = self._run(requests)
        return [
            Answer("error", reason=str(raw)) if isinstance(raw, Exception) else parse_answer(raw)
            for raw in answers
        ]

    def read(self, read: Read) -> Page | None:
        raw = self._run([read])[0]
        if isinstance(raw, Exception):
            raise RelayUnavailableError(f"the relay refused to read {read.stream_id!r}: {raw}")
        return parse_page(raw, read)

    def close(self) -> None:
        while self._recent:
            self._redis.connection_pool.release(self._recent.pop()[0])
        self._redis.close()
        self._redis.connection_pool.disconnect()

    def _run(self, requests: Sequence[Request | Read]) -> list[Any]:
        try:
            raw = self._send(requests)
            missing = [
                index for index, item in enumerate(raw)
                if isinstance(item, redis.exceptions.NoScriptError)
            ]  # fmt: skip
            if missing:
                for script in SCRIPTS.values():
                    self._redis.script_load(script.text)
                again = self._send([requests[index] for index in missing])
                for index, item in zip(missing, again, strict=True):
                    raw[index] = item
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError) as error:
            raise unavailable(self._url, error) from error
        return raw

    def _send(self, requests: Sequence[Request | Read]) -> list[Any]:
        """Send all and read all answers; errors of single requests are returned.

        Straight over a connection: redis-py's pipeline takes three times the CPU for one command.
        """
        connection, checked = self._take()
        try:
            commands = [("EVALSHA", *self._calls.evalsha(request)) for request in requests]
            for start in range(0, len(commands), AT_ONCE):
                packed = connection.pack_commands(commands[start : start + AT_ONCE])
                connection.send_packed_command(packed, check_health=False)
            answers = [_reply(connection) for _ in commands]
        except BaseException as error:
            # Answers may be under way, also when a signal interrupts us: nobody else must get them.
            connection.disconnect()
            self._redis.connection_pool.release(connection)
            if checked or not isinstance(error, redis.exceptions.ConnectionError):
                raise
            # The server had closed it meanwhile. All requests may be repeated; once, on a new one.
            return self._send(requests)
        if any(isinstance(answer, Exception) for answer in answers):
            # Rare, and some servers (fakeredis) close the connection behind an error.
            connection.disconnect()
            self._redis.connection_pool.release(connection)
        else:
            self._recent.append((connection, time.monotonic()))
        return answers

    def _take(self) -> tuple[Any, bool]:
        """A connection that was in use just now, or one that the pool has checked (then True)."""
        if self._pid != os.getpid():
            # Those of the parent process are not ours to use.
            self._pid, self._recent = os.getpid(), deque()
        with contextlib.suppress(IndexError):
            connection, since = self._recent.pop()
            if time.monotonic() - since < RECENT:
                return connection, False
            self._redis.connection_pool.release(connection)
        return self._redis.connection_pool.get_connection(), True


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.exceptions.ResponseError as error:
        return error
