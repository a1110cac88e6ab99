"""Where Celery's own Redis is, and how to connect to it.

Celery and kombu do the reading: `kombu.Connection` takes URLs, failover lists and TLS options
apart, Celery's backend computes its connection parameters. Here they become a URL and options of
redis-py. Nothing connects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ssl import VerifyMode
from typing import Any
from urllib.parse import quote, urlencode

from kombu.utils.imports import symbol_by_name
from kombu.utils.url import url_to_parts

from ..errors import ConfigurationError

# kombu's transport options that are about a single connection. Those about its pool and about
# sending a command again (max_connections, retry_on_timeout) are decided by the store's own client.
TRANSPORT_OPTIONS = (
    "socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_keepalive_options",
    "health_check_interval", "client_name",
)  # fmt: skip
# What Celery's backend tells redis-py beyond the connection, or what is in the URL.
BACKEND_ONLY = (
    "connection_class", "db", "decode_responses", "driver_info", "encoding", "encoding_errors",
    "host", "hosts", "lib_name", "lib_version", "max_connections", "path", "port",
    "retry_on_timeout", "virtual_host",
)  # fmt: skip
BACKEND_TIMEOUT = 120.0  # Celery's default of redis_socket_timeout, in seconds
PORTS = {"redis": 6379, "sentinel": 26379}


@dataclass(frozen=True, slots=True)
class CeleryRedis:
    """One Redis, or a primary that sentinels know.

    Attributes:
        url: for `stream_relay_url`, without secrets.
        options: of redis-py's connections, with the secrets; and for sentinels `sentinel_kwargs`
            and `min_other_sentinels`.
        key_prefix: before every key and channel.
    """

    url: str
    options: dict[str, Any]
    key_prefix: str


def broker_redis(connection: Any) -> CeleryRedis | None:
    """The Redis that a `kombu.Connection` leads to; None when the broker is something else.

    Raises:
        ConfigurationError: what the connection was told cannot be taken over.
    """
    kind = _kind(str(connection.transport_cls))
    if kind is None:
        return None
    given: Mapping[str, Any] = connection.transport_options or {}
    options = {name: given[name] for name in TRANSPORT_OPTIONS if given.get(name) is not None}
    tls = _add_tls(options, connection.ssl)
    host, database = connection.hostname or "127.0.0.1", connection.virtual_host
    provider = getattr(connection, "credential_provider", None)  # not in kombu 5.5
    login = [connection.userid, connection.password, provider]
    path = ""
    if "://" in host:  # redis+socket:///path?virtual_host=1
        parts = url_to_parts(host)
        query = dict(parts.query)
        path, database = f"/{parts.path}", query.pop("virtual_host", database)
        login = [parts.username, parts.password, query.pop("credential_provider", login[2])]
        for name in ("socket_connect_timeout", "socket_keepalive", "socket_keepalive_options"):
            options.pop(name, None)
        options.update(query)
        tls = False
    _add_login(options, *login, where="broker_url")
    place = _Place("broker_url", kind, tls=tls, path=path, database=database)
    if kind == "sentinel":
        hosts = [
            (parts.hostname or "127.0.0.1", parts.port or PORTS[kind])
            for url in connection.alt
            if (parts := url_to_parts(url)).scheme == "sentinel"
        ]
        place.hosts = hosts or [(host, connection.port or PORTS[kind])]
        place.add_sentinels(options, given, "broker_transport_options")
    else:
        _check_one_place(connection)
        place.hosts = [(host, connection.port or PORTS[kind])]
    _check_options(options, tls, path, "broker_url, broker_use_ssl or broker_transport_options")
    return CeleryRedis(place.url(), options, str(given.get("global_keyprefix") or ""))


def is_redis(url: object) -> bool:
    """Whether a result backend is Redis, as its URL or name says."""
    return isinstance(url, str) and _kind(url.partition("://")[0]) is not None


def backend_redis(backend: Any, given: Mapping[str, Any]) -> CeleryRedis:
    """The Redis of Celery's own `RedisBackend` or `SentinelBackend`.

    Args:
        backend: the backend.
        given: `result_backend_transport_options`.

    Raises:
        ConfigurationError: what the backend was told cannot be taken over.
    """
    params: dict[str, Any] = dict(backend.connparams)
    options = {
        name: value
        for name, value in params.items()
        if name not in BACKEND_ONLY and value is not None
    }
    if options.get("socket_timeout") == BACKEND_TIMEOUT:
        del options["socket_timeout"]  # not the user's choice, and too long for a stream
    _plain_cert_reqs(options)
    hosts: list[dict[str, Any]] | None = params.get("hosts")
    path = str(params.get("path") or "")
    tls = "SSL" in getattr(params.get("connection_class"), "__name__", "")
    kind = "redis" if hosts is None else "sentinel"
    place = _Place("result_backend", kind, tls=tls, path=path, database=params.get("db"))
    place.hosts = [(each["host"], each["port"]) for each in (hosts or [params]) if "host" in each]
    if kind == "sentinel":
        place.add_sentinels(options, given, "result_backend_transport_options")
    _check_options(options, tls, path, "result_backend, redis_backend_use_ssl or redis_...")
    return CeleryRedis(place.url(), options, backend_prefix(given))


def backend_prefix(given: Mapping[str, Any]) -> str:
    """The prefix of `result_backend_transport_options`, to which Celery adds a separator."""
    prefix = str(given.get("global_keyprefix") or "")
    return prefix if not prefix or prefix[-1] in ":_-." else f"{prefix}_"


class _Place:
    """The parts of a URL for `stream_relay_url`."""

    def __init__(self, where: str, kind: str, *, tls: bool, path: str, database: object) -> None:
        self.hosts: list[tuple[str, int]] = []
        self._kind = kind
        self._scheme = "rediss" if tls else "redis"
        self._path = path
        self._service = ""
        text = str(database or 0).strip("/") or "0"
        if not text.isdecimal():
            raise ConfigurationError(f"{where}: a Redis database is a number, not {text!r}")
        self._database = int(text)

    def add_sentinels(self, options: dict[str, Any], given: Mapping[str, Any], where: str) -> None:
        """Take over who the sentinels are to be asked about, and how.

        Raises:
            ConfigurationError: the primary's name is missing.
        """
        if not given.get("master_name"):
            raise ConfigurationError(f"{where}: master_name is missing, the primary's name")
        self._service = str(given["master_name"])
        for name in ("sentinel_kwargs", "min_other_sentinels"):
            if given.get(name) is not None:
                options[name] = given[name]

    def url(self) -> str:
        if self._path:
            return f"unix://{quote(self._path)}?{urlencode({'db': self._database})}"
        usual = PORTS[self._kind]
        hosts = ",".join(
            _bracketed(host) + (f":{port}" if port != usual else "") for host, port in self.hosts
        )
        if self._kind == "sentinel":
            query = urlencode({"service": self._service})
            return f"{self._scheme}+sentinel://{hosts}/{self._database}?{query}"
        return f"{self._scheme}://{hosts}/{self._database}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else quote(host, safe="")


def _kind(name: str) -> str | None:
    """`redis` or `sentinel`; None for other transports. A class may be named by its path."""
    name = name.partition("+")[0].replace(":", ".")
    if name == "sentinel" or name.endswith((".redis.SentinelTransport", ".redis.SentinelBackend")):
        return "sentinel"
    if name in ("redis", "rediss") or name.endswith((".redis.Transport", ".redis.RedisBackend")):
        return "redis"
    return None


def _add_tls(options: dict[str, Any], given: Any) -> bool:
    if not given:
        return False
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"broker_use_ssl: {given!r} has no effect with Redis, kombu connects without TLS; give "
            "its options, such as {'ssl_cert_reqs': ssl.CERT_REQUIRED, 'ssl_ca_certs': '/ca.pem'}"
        )
    options.update(given)
    _plain_cert_reqs(options)
    return True


def _plain_cert_reqs(options: dict[str, Any]) -> None:
    """Write `ssl_cert_reqs` as text, which redis-py's async connections need."""
    if isinstance(value := options.get("ssl_cert_reqs"), VerifyMode):
        options["ssl_cert_reqs"] = value.name.removeprefix("CERT_").lower()


def _add_login(
    options: dict[str, Any], user: str | None, password: Any, provider: Any, *, where: str
) -> None:
    if provider:
        from redis import CredentialProvider

        if isinstance(provider, str):
            try:
                make: Any = symbol_by_name(provider)  # type: ignore[no-untyped-call]
                provider = make()
            except Exception as error:
                raise ConfigurationError(
                    f"{where}: credential_provider {provider}: {error}"
                ) from error
        if not isinstance(provider, CredentialProvider):
            raise ConfigurationError(
                f"{where}: credential_provider is not a redis.CredentialProvider but a "
                f"{type(provider).__name__}"
            )
        options["credential_provider"] = provider
        return
    if callable(password):
        raise ConfigurationError(
            "broker_password: Redis needs a string, or a credential_provider in the broker's URL"
        )
    if user:
        options["username"] = user
    if password:
        options["password"] = password


def _check_one_place(connection: Any) -> None:
    """Refuse failover lists: a stream must be written and read in one place.

    kombu moves to the next URL when one fails, each process for itself. Producers and readers
    would not find each other, and two producers could write the same stream.
    """
    places = set()
    for url in filter(None, connection.alt):
        parts = url_to_parts(url)
        database = (parts.path or "0").strip("/")
        places.add((parts.scheme, parts.hostname or "127.0.0.1", parts.port or 6379, database))
    if len(places) > 1:
        shown = ", ".join("{}://{}:{}/{}".format(*each) for each in sorted(places, key=str))
        raise ConfigurationError(
            f"broker_url names {len(places)} brokers ({shown}), between which each process "
            "switches for itself; streams are kept in one Redis: set stream_relay_url to it, or to "
            "redis+sentinel:// for one that fails over"
        )


def _check_options(options: Mapping[str, Any], tls: bool, path: str, where: str) -> None:
    """Let redis-py say now what it does not take."""
    from redis import CredentialProvider, connection
    from redis.exceptions import RedisError

    plain = {
        name: value
        for name, value in options.items()
        if name not in ("sentinel_kwargs", "min_other_sentinels")
    }
    provider = options.get("credential_provider")
    if provider is not None and not isinstance(provider, CredentialProvider):
        raise ConfigurationError(
            f"{where}: credential_provider is {provider!r}, and this version of Celery makes no "
            "redis.CredentialProvider of it"
        )
    kind: Any = connection.SSLConnection if tls else connection.Connection
    if path:
        kind, plain["path"] = connection.UnixDomainSocketConnection, path
    try:
        kind(**plain)
    except (TypeError, ValueError, RedisError) as error:
        raise ConfigurationError(
            f"{where}: Redis connections do not take this: {error}. Correct it, or set "
            "stream_relay_url"
        ) from error
