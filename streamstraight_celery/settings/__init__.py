"""The only reader of configuration: `stream_*` keys of a Celery app, as one frozen dataclass.

In Django settings the same keys are `CELERY_STREAM_*` (with `namespace="CELERY"`).
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import quote, urlsplit

from celery import Celery, current_app
from celery.exceptions import ImproperlyConfigured
from kombu import serialization as _serialization

from ..errors import ConfigurationError
from .celery_redis import CeleryRedis, backend_prefix, backend_redis, broker_redis, is_redis
from .origins import is_origin
from .secrets import HOW_TO_MAKE_ONE, weakness_of

PREFIX = "stream_"
HOSTED = "https://api.streamstraight.com"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
# Public, so only for loopback, where no one else can connect.
_DEVELOPMENT_SECRET = "streamstraight-celery-development-only"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """All settings. Durations are seconds, sizes are bytes.

    Attributes:
        relay_url: where streams are kept: `redis://`, `rediss://`, `unix://`, `redis+cluster://`,
            `redis+sentinel://` or `memory://`.
            Default: the broker or the result backend when that is Redis, with all that Celery is
            told about the connection.
        relay_options: for redis-py's connections, what a URL cannot say or should not show:
            `ssl_ca_certs`, `credential_provider`, `socket_timeout`, `sentinel_kwargs`, ...
        public_url: the relay server as browsers see it, without `/v1/...`.
        secret: signs tokens; a list of two rotates (the first signs, both verify).
        development: allow a missing secret; never in production.
        token_ttl: how long a token is valid.
        allowed_origins: browser origins that may read, exact (`https://example.com`).
        writing: allow writing streams over HTTP, with a token or an API key.
        api_keys: keys of back ends that may read and write every stream.
        codec: name of the codec for tasks that name none.
        on_end: name of the task that is told of each stream's end; "" for none.
        nan: what becomes of NaN and Infinity in a chunk: `error` (the task fails) or `null`.
        key_prefix: first part of every Redis key and channel; behind the `global_keyprefix` of
            Celery's own Redis when streams are kept there.
        ttl: how long a stream is kept after its last write.
        lease: how long a silent producer counts as alive.
        reap_after: how long after its lease a lost producer's stream is ended.
        linger: longest wait of a chunk for others, under load (0 to 0.005); never of the first
            chunk or the end.
        relay_timeout: how long a producer waits for a relay that does not answer.
        max_chunk_bytes: largest encoded chunk.
        max_bytes: largest sum of a stream's encoded chunks.
        conversation_ttl: how long a conversation is kept after its last event; at least `ttl`.
        conversation_bytes: largest sum of a conversation's events.
        buffer_chunks: unsent chunks after which the generator waits (back-pressure).
        buffer_bytes: unsent characters after which the generator waits (back-pressure).
        show_arguments: show task arguments in events, logs and Flower.
        ping_interval: seconds between comments on a quiet SSE connection.
        long_poll_timeout: seconds a long-poll request waits.
        max_age: seconds after which a live SSE response is closed; its reader reconnects.
        send_timeout: seconds a reader may take to accept bytes before it is closed (resumable).
        permission: dotted path of Django's authorization hook.
        api_key: of the Streamstraight service, for workers. Default: `STREAMSTRAIGHT_API_KEY`.
        api_base_url: of the Streamstraight service. Default: `STREAMSTRAIGHT_API_BASE_URL`, or the
            hosted one.
        inactivity_timeout: how long a connected producer of the Streamstraight SDK may be silent.
        metrics_port: where a worker serves its Prometheus metrics; 0: nowhere.
        metrics_host: the address for that.
    """

    relay_url: str = field(default="", repr=False)
    relay_options: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)
    public_url: str = "http://127.0.0.1:8787"
    secret: tuple[str, ...] = field(default=(), repr=False)
    development: bool = False
    token_ttl: float = 3600.0
    allowed_origins: tuple[str, ...] = ()
    writing: bool = False
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    codec: str = "json"
    on_end: str = ""
    nan: str = "error"
    key_prefix: str = "ss:"
    ttl: float = 3600.0
    lease: float = 10.0
    reap_after: float = 30.0
    linger: float = 0.0015
    relay_timeout: float = 30.0
    max_chunk_bytes: int = 4 * 1024 * 1024
    max_bytes: int = 64 * 1024 * 1024
    conversation_ttl: float = 7 * 24 * 3600.0
    conversation_bytes: int = 16 * 1024 * 1024
    buffer_chunks: int = 4096
    buffer_bytes: int = 4 * 1024 * 1024
    show_arguments: bool = False
    ping_interval: float = 15.0
    long_poll_timeout: float = 20.0
    max_age: float = 300.0
    send_timeout: float = 30.0
    permission: str = ""
    api_key: str = field(default="", repr=False)
    api_base_url: str = HOSTED
    inactivity_timeout: float = 300.0
    metrics_port: int = 0
    metrics_host: str = "127.0.0.1"

    def secrets(self) -> tuple[str, ...]:
        """The secrets to sign and verify with.

        Raises:
            ConfigurationError: none is set, and the relay is not on loopback in development.
        """
        if self.secret:
            return self.secret
        if self.development or urlsplit(self.public_url).hostname in LOOPBACK:
            return (_DEVELOPMENT_SECRET,)
        raise ConfigurationError(
            "stream_secret is not set. Set it to a long random string, the same for the web "
            "application and the relay: "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )

    def stream_url(self, stream_id: str) -> str:
        """Where the relay server serves a stream."""
        return f"{self.public_url}/v1/stream/{quote(stream_id, safe='')}"


_INSTALLED = "_streamstraight_settings"
_FIELDS = {item.name: item for item in fields(StreamSettings)}


def check_app(app: Celery) -> None:
    """Check that it is a Celery app, not the web application or its name.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(app, Celery):
        raise TypeError(f"{app!r} is not a Celery app: pass the one that has the tasks")


def this_app(app: Celery | None = None) -> Celery:
    """The app that was given, or the current one; which one that is depends on the thread."""
    current: Any = current_app
    found: Celery = app or current._get_current_object()
    return found


def install_settings(app: Celery, settings: StreamSettings | None) -> StreamSettings | None:
    """Give the app other settings than its configuration's (None: these again); for tests.

    Returns those that were installed before.
    """
    before: StreamSettings | None = app.__dict__.pop(_INSTALLED, None)
    if settings is not None:
        app.__dict__[_INSTALLED] = settings
    return before


def read_settings(app: Celery) -> StreamSettings:
    """Read and check the `stream_*` settings of a Celery app.

    Raises:
        ConfigurationError: a setting is unknown, of the wrong type or out of range.
        TypeError: not a Celery app.
    """
    check_app(app)
    if (installed := app.__dict__.get(_INSTALLED)) is not None:
        found: StreamSettings = installed
        return found
    _check_names(app)
    given = given_settings(app)
    unknown = sorted(set(given) - set(_FIELDS))
    if unknown:
        raise ConfigurationError(_unknown_message(unknown[0]))
    values = {name: _checked(name, value) for name, value in given.items()}
    if "relay_url" not in values:
        values.update(_default_relay(app, values))
    values.setdefault("api_key", os.environ.get("STREAMSTRAIGHT_API_KEY", ""))
    values.setdefault("api_base_url", os.environ.get("STREAMSTRAIGHT_API_BASE_URL") or HOSTED)
    settings = StreamSettings(**values)
    _check_ranges(settings)
    return settings


def task_serializer(app: Celery) -> str:
    """How Celery serializes messages of tasks that do not say so."""
    return str(app.conf.task_serializer)


def accepted_content(app: Celery) -> frozenset[str]:
    """The content types of messages that the app reads."""
    serialization: Any = _serialization  # not typed
    return frozenset(serialization.prepare_accept_content(app.conf.accept_content))


def runs_eagerly(app: Celery) -> bool:
    """Whether Celery runs tasks where they are enqueued."""
    return bool(app.conf.task_always_eager)


def soft_time_limit(task: Any, request: Any) -> float | None:
    """The soft time limit of a task's request in seconds; None: it has none."""
    _, of_message = request.timelimit or (None, None)
    limit: float | None = (
        of_message or task.soft_time_limit or task.app.conf.task_soft_time_limit or None
    )
    return limit


@dataclass(frozen=True, slots=True, kw_only=True)
class CeleryTimes:
    """Settings of Celery's own that decide when a task runs twice. Seconds; None: no limit."""

    broker_url: str
    visibility_timeout: float | None  # None: the broker has none
    longest_task: float | None
    acks_late: tuple[str, ...]  # stream tasks that are acknowledged late


def read_celery_times(app: Celery, stream_tasks: Mapping[str, Any]) -> CeleryTimes:
    """Read what the broker and the stream tasks (by name) say about time."""
    url = str(app.conf.broker_url or "")
    options = app.conf.broker_transport_options or {}
    limits = [
        task.time_limit or app.conf.task_time_limit or task.soft_time_limit
        for task in stream_tasks.values()
    ]
    return CeleryTimes(
        broker_url=url,
        visibility_timeout=float(options.get("visibility_timeout", 3600))
        if url.startswith(("redis", "rediss", "sentinel", "sqs"))
        else None,
        longest_task=max(limits, default=None) if all(limits) else None,
        acks_late=tuple(
            name
            for name, task in stream_tasks.items()
            if (app.conf.task_acks_late if task.acks_late is None else task.acks_late)
        ),
    )


def given_settings(app: Celery) -> dict[str, Any]:
    """All settings whose name starts with `stream_`, by the rest of the name."""
    namespace = _namespace(app)
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


def _namespace(app: Celery) -> str:
    return (getattr(app, "namespace", None) or app.conf.prefix or "").rstrip("_").lower()


def _check_names(app: Celery) -> None:
    """Django's names, without the namespace that makes Celery read them, would mean nothing."""
    for key in () if _namespace(app) else app.conf.keys():
        if isinstance(key, str) and key.startswith("CELERY_STREAM_"):
            raise ConfigurationError(
                f"{key} is read only with namespace='CELERY' in config_from_object(), as in "
                f"Django; elsewhere write {key[len('CELERY_') :].lower()}"
            )


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
            return float(value) if wanted == "float" or not math.isfinite(value) else int(value)
    elif wanted == "Mapping[str, Any]":
        if isinstance(value, Mapping):
            return dict(value)
    elif isinstance(value, str):
        return value.rstrip("/") if name in ("public_url", "api_base_url") else value
    raise ConfigurationError(f"{PREFIX}{name} must be a {wanted}, not {value!r}")


def _strings(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,) if value else ()
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) and item for item in value):
        return tuple(value)
    raise ConfigurationError(f"{PREFIX}{name} must be a string or a list of strings")


def _default_relay(app: Celery, given: Mapping[str, Any]) -> dict[str, Any]:
    """The relay next to Celery's own Redis, so that a Redis user need not configure one."""
    found = _broker_redis(app) or _backend_redis(app)
    if found is None:
        return {"relay_url": os.environ.get("STREAM_RELAY_URL", "")}
    return {
        "relay_url": found.url,
        "relay_options": {**found.options, **given.get("relay_options", {})},
        "key_prefix": found.key_prefix + given.get("key_prefix", _FIELDS["key_prefix"].default),
    }


def _broker_redis(app: Celery) -> CeleryRedis | None:
    # Not the URL that workers read from: all processes write to this one.
    url = app.conf.broker_write_url
    first = str((url if isinstance(url, str) or not url else url[0]) or "")
    if not is_redis(first if "://" in first else app.conf.broker_transport):
        return None
    try:
        connection = app.connection_for_write()
    except (TypeError, KeyError, ValueError) as error:
        # A ValueError may show a part of the password.
        why = "" if isinstance(error, ValueError) else f": {error}"
        raise ConfigurationError(f"broker_url: Celery cannot read it{why}") from None
    found = broker_redis(connection)
    if found is None or found.key_prefix:
        return found
    # The results of apps that share a broker may be all that is kept apart.
    prefix = _backend_prefix(app) if is_redis(app.conf.result_backend) else ""
    return replace(found, key_prefix=prefix)


def _backend_redis(app: Celery) -> CeleryRedis | None:
    if not is_redis(app.conf.result_backend):
        return None
    try:
        backend = app.backend
    except (ImportError, ImproperlyConfigured, TypeError, KeyError, ValueError) as error:
        why = " ".join(str(error).split())
        raise ConfigurationError(f"result_backend: Celery cannot read it: {why}") from error
    return backend_redis(backend, app.conf.result_backend_transport_options or {})


def _backend_prefix(app: Celery) -> str:
    return backend_prefix(app.conf.result_backend_transport_options or {})


def _check_public_url(url: str) -> None:
    parts = urlsplit(url)
    # A path is for a relay that is mounted on the origin of the pages.
    if (parts.scheme in ("http", "https") and parts.netloc) or not url or url.startswith("/"):
        return
    raise ConfigurationError(
        "stream_public_url must be http(s), such as https://relay.example.com, or a path, such as "
        f"/streams, not {url!r}"
    )


def _check_origin(origin: str) -> None:
    """Browsers name an origin in one way only; another would never be met."""
    if origin != "*" and not is_origin(origin):
        raise ConfigurationError(
            f"no browser has the origin {origin!r} of stream_allowed_origins: an origin is scheme, "
            "host and, unless it is the usual one, port, such as https://app.example, in ASCII and "
            "lower case; each is listed, without wildcards"
        )


def _check_ranges(settings: StreamSettings) -> None:
    if not 0 <= settings.linger <= 0.005:
        raise ConfigurationError("stream_linger is in seconds, from 0 to 0.005")
    if not 0 <= settings.metrics_port <= 65535:
        raise ConfigurationError("stream_metrics_port is a port, from 1 to 65535; 0 for none")
    if settings.nan not in ("error", "null"):
        raise ConfigurationError(f"stream_nan is 'error' or 'null', not {settings.nan!r}")
    positive: Mapping[str, float] = {
        name: getattr(settings, name)
        for name in _FIELDS
        if isinstance(getattr(settings, name), (int, float))
        and name not in ("linger", "metrics_port")
        if not isinstance(getattr(settings, name), bool)
    }
    for name, value in positive.items():
        if not 0 < value < math.inf:  # NaN too
            raise ConfigurationError(
                f"{PREFIX}{name} must be greater than 0, and finite, not {value!r}"
            )
    if urlsplit(settings.api_base_url).scheme not in ("http", "https"):
        raise ConfigurationError(
            f"stream_api_base_url must be http(s), not {settings.api_base_url!r}"
        )
    _check_public_url(settings.public_url)
    for origin in settings.allowed_origins:
        _check_origin(origin)
    for fault in filter(None, map(weakness_of, settings.api_keys)):
        raise ConfigurationError(f"a key in stream_api_keys {fault} ({HOW_TO_MAKE_ONE})")
    if len(settings.secret) > 2:
        raise ConfigurationError("stream_secret takes one secret, or two while you rotate")
