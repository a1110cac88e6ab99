"""Relays, chosen by URL."""

from __future__ import annotations

import re

from ..errors import ConfigurationError
from ..settings import StreamSettings
from .base import AsyncRelay, Relay, RelayOptions
from .redis.relay import SCHEMES, RedisRelay
from .urls import CLUSTER_SCHEMES, SENTINEL_SCHEMES

STREAMSTRAIGHT = ("streamstraight", "streamstraight+http")

# What was probably meant by a URL that is not a stream store's.
_RELAY_SERVER = (
    "stream_relay_url is the Redis that keeps streams; if you meant where browsers find the relay "
    "server, that is stream_public_url; "
)
HINTS = {
    "sentinel": "write redis+sentinel://host:26379,host:26379/0?service=mymaster; ",
    "redis+socket": "write unix:///path/to/redis.sock?db=0; ",
    "http": _RELAY_SERVER,
    "https": _RELAY_SERVER,
}

__all__ = ["AsyncRelay", "Relay", "RelayOptions", "open_async_relay", "open_relay"]


def open_relay(settings: StreamSettings) -> Relay:
    """Return the relay that `stream_relay_url` names; it connects when it is used.

    Raises:
        ConfigurationError: no URL, or one of an unknown scheme.
    """
    scheme = _scheme(settings)
    if scheme == "memory":
        from .memory.relay import MemoryRelay, store_for

        _refuse_options(settings)
        return MemoryRelay(store_for(settings.relay_url, options(settings)))
    if scheme in CLUSTER_SCHEMES:
        from .cluster.relay import ClusterRelay

        return ClusterRelay(*_redis(settings), connection=settings.relay_options)
    if scheme in STREAMSTRAIGHT:
        from .streamstraight import StreamstraightRelay

        _refuse_options(settings)
        return StreamstraightRelay(settings)
    return RedisRelay(*_redis(settings), connection=settings.relay_options)


def open_async_relay(settings: StreamSettings) -> AsyncRelay:
    """Return the same relay for an event loop.

    Raises:
        ConfigurationError: no URL, or one of an unknown scheme.
    """
    scheme = _scheme(settings)
    if scheme in STREAMSTRAIGHT:
        raise ConfigurationError(
            f"stream_relay_url is {scheme}://: the hosted service serves its streams itself. "
            "Your own relay server needs a stream store on Redis"
        )
    if scheme == "memory":
        from .memory.relay import AsyncMemoryRelay, store_for

        _refuse_options(settings)
        return AsyncMemoryRelay(store_for(settings.relay_url, options(settings)))
    if scheme in CLUSTER_SCHEMES:
        from .cluster.async_relay import AsyncClusterRelay

        return AsyncClusterRelay(*_redis(settings), connection=settings.relay_options)
    from .redis.async_relay import AsyncRedisRelay

    return AsyncRedisRelay(*_redis(settings), connection=settings.relay_options)


def options(settings: StreamSettings) -> RelayOptions:
    """What the settings say about every request."""
    return RelayOptions(
        key_prefix=settings.key_prefix,
        ttl=round(settings.ttl * 1000),
        lease=round(settings.lease * 1000),
        reap_after=round(settings.reap_after * 1000),
        max_bytes=settings.max_bytes,
        conversation_ttl=round(settings.conversation_ttl * 1000),
        conversation_bytes=settings.conversation_bytes,
    )


def _refuse_options(settings: StreamSettings) -> None:
    if settings.relay_options:
        raise ConfigurationError(
            "stream_relay_options are options of Redis connections, and stream_relay_url is not "
            f"Redis but {_scheme(settings)}://"
        )


def _redis(settings: StreamSettings) -> tuple[str, RelayOptions]:
    """The URL, which may be written as for Celery (CERT_REQUIRED for `required`), and options."""
    url = re.sub(
        r"(?<=[?&]ssl_cert_reqs=)CERT_(NONE|OPTIONAL|REQUIRED)\b",
        lambda found: found[1].lower(),
        settings.relay_url,
    )
    return url, options(settings)


def _scheme(settings: StreamSettings) -> str:
    if not settings.relay_url:
        raise ConfigurationError(
            "stream_relay_url is not set, and Celery's broker is not Redis. Set it to where "
            "streams are to be kept, for example redis://localhost:6379/0 (memory:// in tests). If "
            "your app's broker is Redis, this thread has another app: call app.set_default()"
        )
    scheme = settings.relay_url.partition(":")[0]
    known = (*SCHEMES, *CLUSTER_SCHEMES, *SENTINEL_SCHEMES, "memory", *STREAMSTRAIGHT)
    if scheme not in known:
        hint = HINTS.get(scheme, "")
        raise ConfigurationError(
            f"stream_relay_url: unknown scheme {scheme!r}; {hint}"
            f"use one of {', '.join(name + '://' for name in known)}"
        )
    return scheme
