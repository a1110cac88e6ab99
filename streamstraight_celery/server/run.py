"""The relay server as a process of its own, on uvicorn."""

from __future__ import annotations

import contextlib
import gc
import ipaddress
import logging
import signal
import socket
import sys
from collections.abc import Generator
from typing import Any

import click
from celery import Celery

from ..errors import ConfigurationError, MissingDependencyError
from ..relays import open_async_relay
from ..relays.redis.pubsub import hiredis_reader
from ..relays.urls import without_secrets
from ..settings import StreamSettings, read_settings
from .app import RelayApp, relay_app
from .fast_path import wired_protocol
from .socketio import uvicorn_options

logger = logging.getLogger(__name__)

BACKLOG = 4096
GRACEFUL_SECONDS = 5
# Longer than proxies keep theirs (nginx and most load balancers: 60 s). One that sends a POST over
# a connection that is just being closed cannot repeat it, and answers 502.
KEEP_ALIVE_SECONDS = 75
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_relay(app: Celery, host: str, port: int, *, log_level: str, access_log: bool) -> None:
    """Serve the streams of a Celery app until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: a setting is wrong, there is no secret, or the port cannot be used.
        MissingDependencyError: uvicorn, httptools or hiredis is not installed.
    """
    uvicorn = _uvicorn()
    settings = read_settings(app)
    open_async_relay(settings)  # connects when it is used; a wrong URL is told now
    check_secret(settings, host)
    relay = relay_app(app)
    listening = listen(host, port)
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    announce(settings, listening, relay.page_path)
    config = server_config(uvicorn, relay, access_log=access_log)
    if access_log:
        logging.getLogger("uvicorn.access").setLevel(logging.INFO)
    # What was imported stays; leaving it out of collections keeps them short under many readers.
    gc.collect()
    gc.freeze()
    _server(uvicorn, config, relay).run(sockets=[listening])


def server_config(uvicorn: Any, relay: RelayApp, *, access_log: bool) -> Any:
    """How uvicorn is to serve the relay."""
    return uvicorn.Config(
        relay,
        http=wired_protocol(),
        **uvicorn_options(relay.settings),
        lifespan="on",
        log_config=None,
        log_level=max(logging.WARNING, logging.getLogger().level),
        access_log=access_log,
        backlog=BACKLOG,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )


def check_secret(settings: StreamSettings, host: str) -> None:
    """Refuse to serve without a secret, except on loopback.

    Raises:
        ConfigurationError: there is no secret, and others could connect.
    """
    if settings.secret:
        return
    if not is_loopback(host):
        raise ConfigurationError(
            f"stream_secret is not set, so the relay server would let anyone on {host} read all "
            "streams. Set it to a long random string, the same for the web application and the "
            "relay server: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    settings.secrets()
    click.echo(
        "Warning: stream_secret is not set; a well-known one is used. For development only.",
        err=True,
    )


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one.

    Raises:
        ConfigurationError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigurationError(
            f"the relay server cannot listen on {host} port {port}: {error.strerror or error}. "
            "Is another one running? Choose another port with --port"
        ) from error
    # Inherited by its connections; asyncio sets it only on sockets that it has made itself.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.set_inheritable(True)
    return listening


def announce(settings: StreamSettings, listening: socket.socket, page_path: str) -> None:
    """Where the relay listens, where it keeps streams, and the link to the streams page."""
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    store = without_secrets(settings.relay_url)
    click.echo(f"Relay server on http://{shown}:{port}, streams in {store}")
    if page_path:
        here = "127.0.0.1" if host == "0.0.0.0" else "[::1]" if host == "::" else shown
        click.echo(f"Streams page, for this machine: http://{here}:{port}{page_path}")
    sys.stdout.flush()


def _uvicorn() -> Any:
    try:
        import httptools  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise MissingDependencyError("uvicorn", "relay") from error
    hiredis_reader()
    return uvicorn


def _server(uvicorn: Any, config: Any, relay: RelayApp) -> Any:
    class RelayServer(uvicorn.Server):  # type: ignore[misc]
        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None, None, None]:
            # uvicorn raises the signal again when it is done; here a stop asked for is a success.
            before = {each: signal.signal(each, self.handle_exit) for each in SIGNALS}
            try:
                yield
            finally:
                for each, handler in before.items():
                    signal.signal(each, handler)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Before uvicorn waits for connections to close, which readers never do by themselves.
            for server in self.servers:
                server.close()
            await relay.drain()
            await super().shutdown(sockets)

    return RelayServer(config)
