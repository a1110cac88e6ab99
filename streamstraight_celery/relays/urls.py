"""Relay URLs: those that name several hosts, and how any may be shown. No I/O."""

from __future__ import annotations

import re
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
# Query options whose values may be shown. Values of all others may be secrets.
PUBLIC_FIELDS = frozenset(
    (
        "client_name", "credential_provider", "db", "health_check_interval", "max_connections",
        "protocol", "retry_on_timeout", "sentinel_username", "service", "socket_connect_timeout",
        "socket_keepalive", "socket_timeout", "ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs",
        "ssl_certfile", "ssl_check_hostname", "ssl_keyfile", "ssl_min_version", "timeout",
        "username", "virtual_host",
    )
)  # fmt: skip
HIDDEN = "***"
_PUBLIC_USER = re.compile(r"[\w.@+-]*")
_PUBLIC_HOSTS = re.compile(
    r"(?:\[[\w:.%]*\]|[\w.%-]*)(?::\d*)?(?:,(?:\[[\w:.%]*\]|[\w.%-]*)(?::\d*)?)*"
)


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
            raise unreadable(error) from None
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
    hosts = tuple(_host(name, PORTS[kind]) for name in names.split(",") if name)
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


def unreadable(error: Exception) -> ConfigurationError:
    """The error for a URL that cannot be read; it shows nothing that may be part of a password."""
    if (text := str(error)).startswith("Invalid value for"):
        return ConfigurationError(f"stream_relay_url: {text}")
    return ConfigurationError(
        "stream_relay_url has no host and port where they belong: write "
        "scheme://user:password@host:port/database. Special characters in a password "
        "must be percent-encoded (urllib.parse.quote(password, safe=''))"
    )


def without_secrets(url: str) -> str:
    """The URL as messages and logs may show it.

    Hides the password, and each query value that is not known to be harmless. When the URL is
    malformed it hides too much rather than too little.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url if _PUBLIC_HOSTS.fullmatch(url.partition("/")[0]) else HIDDEN
    rest, question, query = rest.partition("?")
    if "@" in query:  # an unencoded password, of the login or in the query
        return f"{scheme}://{HIDDEN}"
    credentials, at, place = rest.rpartition("@")
    hosts, slash, path = place.partition("/")
    if not _PUBLIC_HOSTS.fullmatch(hosts):
        hosts = HIDDEN
    if not re.fullmatch(r"[\w./%-]*", path):
        path = HIDDEN
    if at:
        user, colon, _ = credentials.partition(":")
        shown = user if colon and _PUBLIC_USER.fullmatch(user) else ""
        hosts = f"{shown}{':' if colon else ''}{HIDDEN}@{hosts}"
    fields = "&".join(_shown_field(field) for field in query.split("&")) if query else ""
    return f"{scheme}://{hosts}{slash}{path}{question}{fields}"


def _shown_field(field: str) -> str:
    name, equals, _ = field.partition("=")
    if unquote(name).lower() in PUBLIC_FIELDS and ";" not in field:
        return field
    return f"{name}{equals}{HIDDEN}" if equals else HIDDEN


def _host(text: str, port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        return unquote(parts.hostname or ""), parts.port or port
    except ValueError as error:
        raise unreadable(error) from None
