"""The relay on Redis, for workers and web routes."""

from __future__ import annotations

import contextlib
import os
import ssl
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import redis
import redis.exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from ...errors import ConfigurationError, RelayUnavailableError
from ..base import Page, Relay, RelayOptions
from ..requests import Answer, Read, Request, repeatable
from ..urls import SENTINEL_SCHEMES, unreadable, without_secrets
from .exchange import exchange
from .scripts import PUBLISH, SCRIPTS, Calls, parse_answer, parse_page
from .sentinel import sentinel_client

SCHEMES = ("redis", "rediss", "unix")
TIMEOUT = 5.0
# A connection used in the last so many seconds is used again without asking whether it still lives,
# which costs more than all the rest of a request.
RECENT = 1.0
# Reads in one round trip.
READS_AT_ONCE = 250
RIGHTS = (
    "the Redis user lacks a right. Those that each process needs are under 'Users and rights' in "
    "the documentation's page on Redis; `celery -A proj streams doctor` tries them"
)


def connection_options(url: str, more: Mapping[str, Any] | None) -> dict[str, Any]:
    """How our clients connect; `more` and then the URL's own query may override it."""
    options: dict[str, Any] = {
        "socket_timeout": TIMEOUT,
        # RESP2: the scripts' answers have one shape on every server version.
        "protocol": 2,
    }
    if not url.startswith("unix:"):
        options |= {"socket_connect_timeout": TIMEOUT, "socket_keepalive": True}
    return {**options, **(more or {})}


def check_connection(pool: Any) -> None:
    """Let redis-py say now which options it does not take.

    Raises:
        ConfigurationError: an option is unknown, or has a value that it cannot have.
    """
    try:
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError, redis.exceptions.RedisError) as error:
        raise ConfigurationError(f"stream_relay_url or stream_relay_options: {error}") from error


def unavailable(url: str, error: Exception) -> RelayUnavailableError:
    """The error for a Redis that does not answer or refuses; no password is shown."""
    text, place = str(error), without_secrets(url)
    if not_allowed(error):
        return RelayUnavailableError(f"the stream store at {place} refuses ({text}): {RIGHTS}")
    if isinstance(error, redis.exceptions.AuthenticationError) or "NOAUTH" in text:
        return RelayUnavailableError(
            f"the stream store at {place} refuses the login ({text}). Correct the user and "
            "password of stream_relay_url, or of Celery's broker or result backend if it is there"
        )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return RelayUnavailableError(
            f"the stream store at {place} has a certificate that is not trusted here ({text}). "
            "Name its CA: stream_relay_options = {'ssl_ca_certs': '/path/ca.pem'}"
        )
    tls = "" if url.startswith("rediss") else ". If it expects TLS, write rediss://"
    return RelayUnavailableError(
        f"the stream store at {place} does not answer ({text}). Is Redis running there? "
        f"Set stream_relay_url to where it is, or start one: redis-server{tls}"
    )


def not_allowed(error: BaseException) -> bool:
    """Whether Redis is there, and its ACL refuses a command, a key or a channel."""
    return isinstance(error, redis.exceptions.NoPermissionError) or any(
        words in str(error) for words in ("NOPERM", "The user executing the script can't")
    )


class RedisRelay(Relay):
    """Requests as scripts on one Redis.

    Args:
        url: `redis://`, `rediss://`, `unix://` or `redis+sentinel://`, with redis-py's options in
            its query.
        options: what the requests have in common.
        publish, in_cluster: as `Calls`.
        connection: more options of redis-py's connections, as in `stream_relay_options`.
    """

    quick = True

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
        # No silent re-sending: whether and what to repeat is the caller's to decide.
        given = {**connection_options(url, connection), "retry": Retry(NoBackoff(), 0)}
        if url.startswith(SENTINEL_SCHEMES):
            self._redis = sentinel_client(url, given)
        else:
            try:
                self._redis = redis.Redis.from_url(url, **given)
            except ValueError as error:
                raise unreadable(error) from None
        check_connection(self._redis.connection_pool)
        database = self._redis.connection_pool.connection_kwargs.get("db") or 0
        self._calls = Calls(options, database=int(database), publish=publish, in_cluster=in_cluster)
        self._pid = os.getpid()
        self._recent: deque[tuple[Any, float]] = deque()

    @property
    def trusts_any_certificate(self) -> bool:
        """Whether it uses TLS without checking who answers."""
        pool: Any = self._redis.connection_pool
        given = pool.connection_kwargs.get("ssl_cert_reqs", "required")
        return issubclass(pool.connection_class, redis.SSLConnection) and given in (
            None, "none", ssl.CERT_NONE,
        )  # fmt: skip

    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        return [as_answer(raw) for raw in self.run(requests)]

    def read(self, read: Read) -> Page | None:
        return as_page(self.run([read])[0], read)

    def read_all(self, reads: Sequence[Read]) -> list[Page | None]:
        return [
            as_page(raw, read)
            for start in range(0, len(reads), READS_AT_ONCE)
            for some in [reads[start : start + READS_AT_ONCE]]
            for raw, read in zip(self.run(some), some, strict=True)
        ]

    def ask(self, *words: str | bytes) -> Any:
        """The plain answer to a command of Redis.

        Raises:
            RelayUnavailableError: Redis was not reached, or refused it.
        """
        connection = None
        try:
            connection = self._redis.connection_pool.get_connection()
            connection.send_command(*words)
            return connection.read_response()
        except (redis.exceptions.RedisError, OSError) as error:
            if connection is not None:
                connection.disconnect()
            raise unavailable(self._url, error) from error
        finally:
            if connection is not None:
                self._redis.connection_pool.release(connection)

    def server_info(self) -> dict[str, Any]:
        """What Redis says of itself (`INFO`), and `time`, its clock in seconds since the epoch.

        Raises:
            RelayUnavailableError: it was not reached, or does not tell.
        """
        try:
            seconds, micros = self._redis.time()
            return {**self._redis.info(), "time": seconds + micros / 1e6}
        except (redis.exceptions.RedisError, OSError) as error:
            raise unavailable(self._url, error) from error

    @property
    def places(self) -> Sequence[str]:
        return self._calls.places

    def scan(self, cursor: str) -> tuple[Sequence[str], str]:
        words = ("SCAN", cursor, "MATCH", self._calls.every_state_key(), "COUNT", "1000")
        following, keys = self.ask(*words)
        return [self._calls.stream_id_of_state(key.decode()) for key in keys], following.decode()

    def close(self) -> None:
        while self._recent:
            self._redis.connection_pool.release(self._recent.pop()[0])
        self._redis.close()
        pool: Any = self._redis.connection_pool
        pool.disconnect()
        if (known := getattr(pool, "sentinel_manager", None)) is not None:
            for sentinel in known.sentinels:
                sentinel.close()

    def run(self, requests: Sequence[Request | Read], *, asking: bool = False) -> list[Any]:
        """What the scripts answer, or the exception with which Redis refused a request.

        Args:
            asking: this is the node of a cluster to which the streams are on their way.

        Raises:
            RelayUnavailableError: as `execute`.
        """
        try:
            raw = self._send(requests, asking)
            missing = [
                index for index, item in enumerate(raw)
                if isinstance(item, redis.exceptions.NoScriptError)
            ]  # fmt: skip
            if missing:
                for script in SCRIPTS.values():
                    self._redis.script_load(script.text)
                again = self._send([requests[index] for index in missing], asking)
                for index, item in zip(missing, again, strict=True):
                    raw[index] = item
        except (redis.exceptions.RedisError, OSError) as error:
            raise unavailable(self._url, error) from error
        self._calls.note_unheard(raw)
        return raw

    def _send(self, requests: Sequence[Request | Read], asking: bool) -> list[Any]:
        """Send all and read all answers; errors of single requests are returned.

        Straight over a connection: redis-py's pipeline takes three times the CPU for one command.
        """
        connection, checked = self._take()
        try:
            commands = self._calls.commands(requests, asking)
            answers = exchange(connection, commands)
        except BaseException as error:
            # Answers may be under way, also when a signal interrupts us: nobody else must get them.
            connection.disconnect()
            self._redis.connection_pool.release(connection)
            if checked or not isinstance(error, redis.exceptions.ConnectionError):
                raise
            if not all(repeatable(request) for request in requests):
                raise
            # The server had closed it meanwhile: once more, on a new one.
            return self._send(requests, asking)
        if any(isinstance(answer, Exception) for answer in answers):
            # Rare, and some servers (fakeredis) close the connection behind an error.
            connection.disconnect()
            self._redis.connection_pool.release(connection)
        else:
            self._recent.append((connection, time.monotonic()))
        return answers[1::2] if asking else answers

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


def as_answer(raw: Any) -> Answer:
    """A script's answer, or what stands for a refusal."""
    return Answer("error", reason=refusal(raw)) if isinstance(raw, Exception) else parse_answer(raw)


def as_page(raw: Any, read: Read) -> Page | None:
    """The page that a read came to.

    Raises:
        RelayUnavailableError: Redis refused it.
    """
    if isinstance(raw, Exception):
        raise RelayUnavailableError(
            f"the stream store refused to read {read.stream_id!r}: {refusal(raw)}"
        ) from raw
    return parse_page(raw, read)


def refusal(error: Exception) -> str:
    """Why Redis refused a request, and what to do about it."""
    # A stream and the index have one node here; a cluster's node refuses keys of both.
    if isinstance(error, (redis.exceptions.MovedError, redis.exceptions.ClusterCrossSlotError)):
        said = f"MOVED {error}" if isinstance(error, redis.exceptions.MovedError) else error
        return (
            f"it is a node of a Redis Cluster and serves only some streams ({said}): "
            "write redis+cluster:// instead of redis:// in stream_relay_url"
        )
    return f"{error}: {RIGHTS}" if not_allowed(error) else str(error)
