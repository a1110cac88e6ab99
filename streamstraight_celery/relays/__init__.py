"""Relays, chosen by URL."""

from __future__ import annotations

from ..errors import ConfigurationError
from ..settings import StreamSettings
from .base import AsyncRelay, Relay, RelayOptions
from .memory import AsyncMemoryRelay, MemoryRelay, store_for
from .redis import SCHEMES, RedisRelay

__all__ = ["AsyncRelay", "Relay", "RelayOptions", "open_async_relay", "open_relay"]


def open_relay(settings: StreamSettings) -> Relay:
    """Return the relay that `stream_relay_url` names; it connects when it is used.

    Raises:
        ConfigurationError: no URL, or one of an unknown scheme.
    """
    if _scheme(settings) == "memory":
        return MemoryRelay(store_for(settings.relay_url, options(settings)))
    return RedisRelay(settings.relay_url, options(settings))


def open_async_relay(settings: StreamSettings) -> AsyncRelay:
    """Return the same relay for an event loop.

    Raises:
        ConfigurationError: no URL, or one of an unknown scheme.
    """
    if _scheme(settings) == "memory":
        return AsyncMemoryRelay(store_for(settings.relay_url, options(settings)))
    from .redis_async import AsyncRedisRelay

    return AsyncRedisRelay(settings.relay_url, options(settings))


def options(settings: StreamSettings) -> RelayOptions:
    """What the settings say about every request."""
    return RelayOptions(
        key_prefix=settings.key_prefix,
        ttl=round(settings.ttl * 1000),
        lease=round(settings.lease * 1000),
        reap_after=round(settings.reap_after * 1000),
        max_bytes=settings.max_bytes,
    )


def _scheme(settings: StreamSettings) -> str:
    if not settings.relay_url:
        raise ConfigurationError(
            "stream_relay_url is not set, and Celery's broker is not Redis. Set it to where "
            "streams are to be kept, for example redis://localhost:6379/0 (memory:// in tests)"
        )
    scheme = settings.relay_url.partition(":")[0]
    known = (*SCHEMES, "memory")
    if scheme not in known:
        raise ConfigurationError(
            f"stream_relay_url: unknown scheme {scheme!r}; "
            f"use one of {', '.join(name + '://' for name in known)}"
        )
    return scheme
