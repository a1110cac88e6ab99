"""Clients of the primary that sentinels name, asked anew for each connection.

    redis+sentinel://host:26379,host:26379/<db>?service=mymaster

`sentinel_username` and `sentinel_password` in the query log in to the sentinels; other options of
the connections to them are the `sentinel_kwargs` of `stream_relay_options`.
"""

from __future__ import annotations

from typing import Any

import redis.asyncio.sentinel as asynchronous
import redis.sentinel as synchronous
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from ...errors import ConfigurationError
from ..urls import HostsUrl, parse_hosts_url

# redis-py leaves these untyped.
_Sentinel: Any = synchronous.Sentinel
_AsyncSentinel: Any = asynchronous.Sentinel

SERVICE = "mymaster"
# A sentinel that is silent for so long is not waited for while there are others.
SENTINEL_TIMEOUT = 1.0


def sentinel_client(url: str, options: dict[str, Any]) -> Any:
    """A `redis.Redis` on the primary.

    Raises:
        ConfigurationError: the URL is wrong.
    """
    parsed = parse_hosts_url(url)
    known = _sentinels(_Sentinel, parsed, options, Retry(NoBackoff(), 0))
    return known.master_for(_service(parsed), **_primary_options(parsed, options))


def async_sentinel_client(url: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """A `redis.asyncio.Redis` on the primary, and the sentinels, to be asked where that is.

    Raises:
        ConfigurationError: the URL is wrong.
    """
    parsed = parse_hosts_url(url)
    known = _sentinels(_AsyncSentinel, parsed, options, AsyncRetry(NoBackoff(), 0))
    return known.master_for(_service(parsed), **_primary_options(parsed, options)), known


def _sentinels(kind: Any, parsed: HostsUrl, options: dict[str, Any], retry: Any) -> Any:
    """The client of the sentinels; takes what is for them out of the options."""
    given = dict(options.pop("sentinel_kwargs", None) or {})
    try:
        return kind(
            parsed.hosts,
            min_other_sentinels=options.pop("min_other_sentinels", 0),
            sentinel_kwargs={**_sentinel_options(parsed), **given, "retry": retry},
        )
    except (TypeError, ValueError, RedisError) as error:
        raise ConfigurationError(f"sentinel_kwargs: {error}") from error


def _service(parsed: HostsUrl) -> str:
    return parsed.own.get("service", SERVICE)


def _primary_options(parsed: HostsUrl, options: dict[str, Any]) -> dict[str, Any]:
    return {**options, **parsed.connection_options(), "ssl": parsed.tls}


def _sentinel_options(parsed: HostsUrl) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_timeout": SENTINEL_TIMEOUT,
        "socket_connect_timeout": SENTINEL_TIMEOUT,
    }
    for name in ("username", "password"):
        if (value := parsed.own.get(f"sentinel_{name}")) is not None:
            options[name] = value
    return options
