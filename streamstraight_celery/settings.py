"""The only reader of configuration: `stream_*` keys of a Celery app, as one frozen dataclass.

In Django settings the same keys are `CELERY_STREAM_*` (with `namespace="CELERY"`).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from celery import Celery

from .errors import ConfigurationError

PREFIX = "stream_"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
# Known to everybody: only good on loopback, where nobody else can connect.
_DEVELOPMENT_SECRET = "streamstraight-celery-development-only"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """All settings. Durations are seconds, sizes are bytes.

    Attributes:
        relay_url: where streams are kept: `redis://`, `rediss://`, `unix://` or `memory://`.
            Default: the broker's or the result backend's URL when that is Redis.
        public_url: the relay server as browsers see it, without `/v1/...`.
        secret: signs tokens; a list of two rotates (the first signs, both verify).
        development: allow a missing secret; only for a machine of your own.
        token_ttl: how long a token is valid.
        allowed_origins: browser origins that may read, exact (`https://example.com`).
        codec: name of the codec for tasks that name none.
        key_prefix: first part of every Redis key.
        ttl: how long a stream is kept after its last write.
        lease: how long a silent producer counts as alive.
        reap_after: how long after its lease a lost producer's stream is ended.
        linger: wait before a flush, to batch more (0 to 0.005); never the first chunk or the end.
        relay_timeout: how long a producer waits for a relay that does not answer.
        max_chunk_bytes: largest encoded chunk.
        max_bytes: largest sum of a stream's encoded chunks.
        buffer_chunks: unsent chunks after which the generator waits (back-pressure).
        buffer_bytes: unsent characters after which the generator waits (back-pressure).
        show_arguments: show task arguments in events, logs and Flower.
        ping_interval: seconds between comments on a quiet SSE connection.
        long_poll_timeout: seconds a long-poll request waits.
        send_timeout: seconds a reader may take to accept bytes before it is closed (resumable).
    """

    relay_url: str = ""
    public_url: str = "http://127.0.0.1:8787"
    secret: tuple[str, ...] = field(default=(), repr=False)
    development: bool = False
    token_ttl: float = 3600.0
    allowed_origins: tuple[str, ...] = ()
    codec: str = "json"
    key_prefix: str = "ss:"
    ttl: float = 3600.0
    lease: float = 10.0
    reap_after: float = 30.0
    linger: float = 0.0
    relay_timeout: float = 30.0
    max_chunk_bytes: int = 4 * 1024 * 1024
    max_bytes: int = 64 * 1024 * 1024
    buffer_chunks: int = 4096
    buffer_bytes: int = 4 * 1024 * 1024
    show_arguments: bool = False
    ping_interval: float = 15.0
    long_poll_timeout: float = 20.0
    send_timeout: float = 30.0

    def secrets(self) -> tuple[str, ...]:
        """The secrets to sign and verify with.

        Raises:
            ConfigurationError: none is set, and the relay is not on loopback in development.
        """
        if self.secret:
            return self.secret
        if self.development or urlsplit(self.public_url).hostname in _LOOPBACK:
            return (_DEVELOPMENT_SECRET,)
        raise ConfigurationError(
            "stream_secret is not set. Set it to a long random string, the same for the web "
            "application and the relay: "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )


_FIELDS = {item.name: item for item in fields(StreamSettings)}


def read_settings(app: Celery) -> StreamSettings:
    """Read and check the `stream_*` settings of a Celery app.

    Raises:
        ConfigurationError: a setting is unknown, of the wrong type or out of range.
    """
    given = _given(app)
    unknown = sorted(set(given) - set(_FIELDS))
    if unknown:
        raise ConfigurationError(_unknown_message(unknown[0]))
    values = {name: _checked(name, value) for name, value in given.items()}
    values.setdefault("relay_url", _default_relay_url(app))
    settings = StreamSettings(**values)
    _check_ranges(settings)
    return settings


def _given(app: Celery) -> dict[str, Any]:
    """All settings whose name starts with `stream_`, by their name without it."""
    namespace = (getattr(app, "namespace", None) or app.conf.prefix or "").rstrip("_").lower()
    found: dict[str, Any] = {}
    for key in app.conf.keys():  # noqa: SIM118 - iterating it is not typed
        if not isinstance(key, str):
            continue
        name = key.lower()
        if namespace and name.startswith(namespace + "_"):
            name = name[len(namespace) + 1 :]
        elif namespace and key.isupper():
            continue  # another package's STREAM_* in the same Django settings
        if name.startswith(PREFIX):
            found[name[len(PREFIX) :]] = app.conf[key]
    return found


def _unknown_message(name: str) -> str:
    close = difflib.get_close_matches(name, _FIELDS, n=1)
    hint = f"; did you mean {PREFIX}{close[0]}?" if close else ""
    return f"unknown setting {PREFIX}{name}{hint}"


def _checked(name: str, value: Any) -> Any:
    wanted = str(_FIELDS[name].type)
    if wanted == "tuple[str, ...]":
        return _strings(name, value)
    if wanted == "bool":
        if isinstance(value, bool):
            return value
    elif wanted in ("float", "int"):
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value) if wanted == "float" else int(value)
    elif isinstance(value, str):
        return value.rstrip("/") if name == "public_url" else value
    raise ConfigurationError(f"{PREFIX}{name} must be a {wanted}, not {value!r}")


def _strings(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,) if value else ()
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) and item for item in value):
        return tuple(value)
    raise ConfigurationError(f"{PREFIX}{name} must be a string or a list of strings")


def _default_relay_url(app: Celery) -> str:
    """The relay next to Celery's own Redis, so that a Redis user need not configure one."""
    for url in (app.conf.broker_url, app.conf.result_backend):
        if isinstance(url, str) and url.startswith(("redis://", "rediss://")):
            return url.split(";")[0]
    return os.environ.get("STREAM_RELAY_URL", "")


def _check_ranges(settings: StreamSettings) -> None:
    if not 0 <= settings.linger <= 0.005:
        raise ConfigurationError("stream_linger is in seconds, from 0 to 0.005")
    positive: Mapping[str, float] = {
        name: getattr(settings, name)
        for name in _FIELDS
        if isinstance(getattr(settings, name), (int, float)) and name not in ("linger",)
        if not isinstance(getattr(settings, name), bool)
    }
    for name, value in positive.items():
        if value <= 0:
            raise ConfigurationError(f"{PREFIX}{name} must be greater than 0, not {value!r}")
    if urlsplit(settings.public_url).scheme not in ("http", "https", ""):
        raise ConfigurationError(f"stream_public_url must be http(s), not {settings.public_url!r}")
    if len(settings.secret) > 2:
        raise ConfigurationError("stream_secret takes one secret, or two while you rotate")
