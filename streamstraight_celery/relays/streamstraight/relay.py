"""The hosted Streamstraight service as a relay for workers and web routes.

What the contract asks for and the service has:

- `Create`: nothing to do; streams begin with their producer, so a name that is taken is found out
  by the producer.
- `Claim`: a producer's connection, with `overwriteExistingStream` when the task ran before.
- `Append`: `producer:chunk` for each chunk, then `producer:end`.
- `Renew`: `producer:heartbeat` while the generator waits, and what has arrived so far.
- `Checkpoint`, `Recall`: not supported: an attempt that would resume starts over.
- `Release`: the connection ends without `producer:end`.
- `Stop`: workers are told by Celery; the service itself has no stop.
- `Reap`, reading: the service's own business, refused clearly.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from urllib.parse import parse_qsl, urlsplit

from ...errors import ConfigurationError, RelayRefusedError, RelayUnavailableError
from ...settings import StreamSettings
from ..base import Access, Page, Relay
from ..requests import (
    Answer,
    Append,
    Checkpoint,
    Claim,
    Create,
    Read,
    Recall,
    Release,
    Renew,
    Request,
    Stop,
)
from .client_tokens import ClientTokens
from .connection import CONNECT_TIMEOUT, Connection
from .progress import Service
from .stop_notes import StopNotes

# How often a stream that is written looks whether it is to stop.
STOP_INTERVAL = 0.5


class StreamstraightRelay(Relay):
    """Carries out requests at the service.

    Args:
        settings: the URL `streamstraight://[host[:port]]` (`streamstraight+http://` without TLS),
            the key, and how long stops are remembered.

    Raises:
        ConfigurationError: there is no key, or the URL is malformed.
    """

    # Each stream has a connection of its own.
    shares = False

    def __init__(self, settings: StreamSettings) -> None:
        self._service = service_of(settings)
        self._patience = min(CONNECT_TIMEOUT, settings.relay_timeout)
        self._lease = round(settings.lease * 1000)
        self._tokens = ClientTokens(self._service)
        self._stops = StopNotes(self._service.url, settings.ttl)
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._open: dict[str, Connection] = {}
        self._looked_at = 0.0
        self._stopped: set[str] = set()

    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        # A renewal is also how a stop's signal makes the sender ask.
        self._look_for_stops(now=any(isinstance(request, Renew) for request in requests))
        return [self._execute(request) for request in requests]

    def read(self, read: Read) -> Page | None:
        raise RelayRefusedError(
            f"stream {read.stream_id!r} is kept by {self._service.url}, which does not tell its "
            "state to servers: read it with Streamstraight's client"
        )

    def access(self, stream_id: str, scopes: Iterable[str], ttl: float | None) -> Access | None:
        return self._tokens.get(stream_id, scopes, ttl)

    def forget(self, stream_id: str, nonce: str) -> None:
        with self._lock:
            connection = self._open.get(stream_id)
            if connection is None or connection.nonce != nonce or connection.pid != os.getpid():
                return
            if self._service.keep_open and connection.over:
                return
            del self._open[stream_id]
        # Not waited for: it may be connecting, to a server that does not answer.
        connection.close(wait=False)

    def close(self) -> None:
        with self._lock:
            connections, self._open = list(self._open.values()), {}
        for connection in connections:
            connection.close()

    def _execute(self, request: Request) -> Answer:
        match request:
            case Create():
                return Answer("ok", 1)
            case Claim():
                return self._claim(request)
            case Stop():
                self._stops.add(request.stream_id)
                return Answer("asked", 1, True)
            case Checkpoint() | Recall():
                return Answer("ok")
            case Append() | Renew() | Release():
                connection = self._find(request)
                if isinstance(connection, Answer):
                    return connection
                return self._write(request, connection)
            case _:
                what = type(request).__name__
                return Answer("refused", reason=f"{what}: Streamstraight has nothing like it")

    def _claim(self, request: Claim) -> Answer:
        name = request.stream_id
        with self._lock:
            self._forget_the_parents()
            # Those that were left open after their streams' ends, until their servers closed them.
            self._open = {key: each for key, each in self._open.items() if each.alive}
            there = self._open.get(name)
            if there is not None and there.nonce != request.nonce and not there.over:
                return Answer("busy", self._lease)
            overwrite = request.overwrite or request.again > 0
            connection = self._open[name] = Connection(
                self._service, name, request.nonce, request.kind, overwrite=overwrite
            )
        if there is not None:
            there.close()
        try:
            answer = connection.wait_ready(self._patience)
        except BaseException:
            self._close(connection)
            raise
        if answer is None:
            attempt = connection.attempt or request.again + 1
            stop = connection.stop_asked or self._stops.has(name)
            return Answer("ok", attempt, stop, "0")
        self._close(connection)
        if answer.kind == "error":
            raise RelayUnavailableError(
                f"{self._service.url} does not take streams ({answer.message})"
            )
        return answer

    def _write(self, request: Append | Renew | Release, connection: Connection) -> Answer:
        if isinstance(request, Release):
            self._close(connection)
            return Answer("ok", request.attempt)
        if isinstance(request, Renew):
            answer = connection.heartbeat()
        else:
            answer = connection.send(
                request.first, request.data.split(b"\n") if request.count else []
            )
            if answer is None and request.end:
                answer = connection.end(request.end, request.error)
        stop = connection.stop_asked or request.stream_id in self._stopped
        if answer is None:
            return Answer("ok", connection.position, stop)
        ended = isinstance(request, Append) and request.end and answer.kind == "ok"
        if ended or answer.kind in ("refused", "closed", "fenced", "too-large"):
            self._retire(connection)
        return answer._replace(stop=answer.stop or stop)

    def _retire(self, connection: Connection) -> None:
        """Nothing more will be written to this stream."""
        self._stops.remove(connection.stream_id)
        if not self._service.keep_open:
            self._close(connection)

    def _find(self, request: Append | Renew | Release) -> Connection | Answer:
        with self._lock:
            self._forget_the_parents()
            connection = self._open.get(request.stream_id)
        if connection is None or connection.nonce != request.nonce:
            name = request.stream_id
            return Answer("refused", reason=f"stream {name!r} has no connection in this process")
        return connection

    def _close(self, connection: Connection) -> None:
        with self._lock:
            if self._open.get(connection.stream_id) is connection:
                del self._open[connection.stream_id]
        connection.close()

    def _forget_the_parents(self) -> None:
        """Connections made before a fork are the parent process' own."""
        if self._pid != os.getpid():
            inherited, self._open = list(self._open.values()), {}
            self._pid = os.getpid()
            for connection in inherited:
                connection.close()

    def _look_for_stops(self, *, now: bool) -> None:
        moment = time.monotonic()
        if now or moment - self._looked_at >= STOP_INTERVAL:
            self._looked_at = moment
            self._stopped = {name for name in list(self._open) if self._stops.has(name)}


def service_of(settings: StreamSettings) -> Service:
    """The service that a `streamstraight://` URL means.

    Raises:
        ConfigurationError: there is no key, or the URL is malformed.
    """
    try:
        parts = urlsplit(settings.relay_url)
        query = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
        host = parts.hostname and parts.netloc.rpartition("@")[2]
    except ValueError as error:
        raise ConfigurationError(f"stream_relay_url: {error}") from error
    keep_open = query.pop("keep_open", "0")
    if query or keep_open not in ("0", "1"):
        raise ConfigurationError(
            "stream_relay_url: streamstraight://[host[:port]][?keep_open=1] has no other options"
        )
    if not settings.api_key:
        raise ConfigurationError(
            "stream_api_key is not set. Set it, or STREAMSTRAIGHT_API_KEY in the environment, to "
            "the key of your Streamstraight account"
        )
    scheme = "http" if parts.scheme.endswith("+http") else "https"
    url = f"{scheme}://{host}{parts.path.rstrip('/')}" if host else settings.api_base_url
    return Service(url, settings.api_key, keep_open=keep_open == "1")
