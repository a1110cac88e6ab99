"""The relay on Redis, for workers and web routes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..errors import ConfigurationError, RelayUnavailableError
from .base import Answer, Page, Read, Relay, RelayOptions, Request
from .scripts import SCRIPTS, Calls, parse_answer, parse_page

SCHEMES = ("redis", "rediss", "unix")
TIMEOUT = 5.0


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
        self._redis.close()

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
        pipeline = self._redis.pipeline(transaction=False)
        for request in requests:
            pipeline.execute_command("EVALSHA", *self._calls.evalsha(request))  # type: ignore[no-untyped-call]
        return pipeline.execute(raise_on_error=False)
