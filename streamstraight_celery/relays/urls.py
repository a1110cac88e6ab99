"""Relay URLs that name several hosts: `redis+cluster://` and `redis+sentinel://`. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from redis import connection

from ..errors import ConfigurationError

_parse: Any = connection.parse_url
CLUSTER_SCHEMES = ("redis+cluster", "rediss+cluster")
SENTINEL_SCHEMES = ("redis+sentinel", "rediss+sentinel")
PORTS = {"cluster": 6379, "sentinel": 26379}
# Of redis+sentinel:// URLs: about the sentinels themselves. The rest is redis-py's.
SENTINEL_FIELDS = ("service", "sentinel_username", "sentinel_password")


@dataclass(frozen=True, slots=True)
class HostsUrl:
    """A URL taken apart.

    Attributes:
        hosts: where to ask first, with ports.
        own: of the query, what `SENTINEL_FIELDS` names.
    """

    tls: bool
    credentials: str
    hosts: tuple[tuple[str, int], ...]
    database: str
    query: str
    own: dict[str, str]

    def node_url(self, host: str, port: int) -> str:
        """The URL of one Redis."""
        scheme = "rediss" if self.tls else "redis"
        shown = f"[{host}]" if ":" in host else host
        login = f"{self.credentials}@" if self.credentials else ""
        query = f"?{self.query}" if self.query else ""
        return f"{scheme}://{login}{shown}:{port}/{self.database}{query}"

    def connection_options(self) -> dict[str, Any]:
        """What redis-py makes of credentials, database and query.

        Raises:
            ConfigurationError: a query option has a value that it cannot have.
        """
        try:
            given: dict[str, Any] = dict(_parse(self.node_url("localhost", 1)))
        except ValueError as error:
            raise ConfigurationError(f"stream_relay_url: {error}") from error
        for name in ("host", "port", "connection_class"):
            given.pop(name, None)
        return given


def parse_hosts_url(url: str) -> HostsUrl:
    """Take a URL apart.

    Raises:
        ConfigurationError: it names no host, a port that is none, or a database of a cluster.
    """
    scheme, _, rest = url.partition("://")
    authority, slash, tail = rest.partition("/")
    if not slash:
        authority, question, query = rest.partition("?")
        tail = f"{question}{query}"
    parts = urlsplit(f"//x/{tail}")
    credentials, _, names = authority.rpartition("@")
    kind = scheme.partition("+")[2]
    fields = dict(parse_qsl(parts.query))
    hosts = tuple(_host(name, PORTS[kind], url) for name in names.split(",") if name)
    if not hosts:
        raise ConfigurationError(
            f"stream_relay_url names no host: write {scheme}://one:{PORTS[kind]},two:{PORTS[kind]}/"
        )
    database = parts.path.strip("/")
    if kind == "cluster" and database not in ("", "0"):
        raise ConfigurationError(
            f"stream_relay_url: a Redis Cluster has no database {database}; leave it out, "
            "and use stream_key_prefix to keep things apart"
        )
    return HostsUrl(
        tls=scheme.startswith("rediss"),
        credentials=credentials,
        hosts=hosts,
        database=database,
        query=urlencode({k: v for k, v in fields.items() if k not in SENTINEL_FIELDS}),
        own={name: fields[name] for name in SENTINEL_FIELDS if name in fields},
    )


def _host(text: str, port: int, url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        return unquote(parts.hostname or ""), parts.port or port
    except ValueError as error:
        scheme = url.partition(":")[0]
        raise ConfigurationError(
            f"stream_relay_url: {text!r} of the {scheme}:// URL is no host and port: {error}"
        ) from error
