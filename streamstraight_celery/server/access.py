"""Who may read from where: tokens, origins and the headers that browsers ask for (protocol.md,
sections 2.2, 2.3 and 2.5). No I/O, but for the log.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import math
import re
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from ..errors import TokenError
from ..ids import is_conversation
from ..settings import StreamSettings
from ..tokens import SCOPES, Grant, Tokens
from .http import Headers, Refused, Reply, Request, not_found, nothing_here, query_fields
from .logs import Seldom

logger = logging.getLogger(__name__)

COOKIE = "streamstraight_token"
ANY_ORIGIN = "*"
QUIET_SECONDS = 60.0  # between two lines of the log about the same mistake
_LOOPBACK_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?\Z", re.ASCII)
_LOOPBACK_ADDRESSES = frozenset({"127.0.0.1", "::1"})
# And the clients of Starlette's and Django's tests, which no network can claim to be.
_THIS_MACHINE = _LOOPBACK_ADDRESSES | {"testclient", "::ffff:127.0.0.1"}
# Names without a dot cannot be registered by anybody.
_LOCAL_HOST = re.compile(
    r"([A-Za-z0-9_-]{1,63}|([A-Za-z0-9_-]{1,63}\.)+localhost|127\.0\.0\.1|\[::1\]|)(:\d{1,5})?\Z",
    re.ASCII,
)
_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_LOOPBACK_ORIGIN = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?\Z", re.ASCII)
_READING_METHODS = "GET, HEAD, POST, OPTIONS"
_WRITING_METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
_HEADER_NAMES = re.compile(r"[A-Za-z0-9_-]{1,64}(, ?[A-Za-z0-9_-]{1,64}){0,31}\Z", re.ASCII)
_ALLOWED_HEADERS = "Authorization, Cache-Control, Content-Type, If-None-Match, Last-Event-ID"
_WRITING_HEADERS = (
    f"{_ALLOWED_HEADERS}, Producer-Id, Producer-Epoch, Producer-Seq, Stream-Seq, Stream-TTL, "
    "Stream-Expires-At, Stream-Closed, Stream-End-Reason, Stream-Forked-From, "
    "Stream-Fork-Offset, Stream-Fork-Sub-Offset"
)
_EXPOSED_HEADERS = (
    "Stream-Next-Offset, Stream-Cursor, Stream-Up-To-Date, Stream-Closed, Stream-End-Reason, "
    "Stream-TTL, Stream-Expires-At, Stream-SSE-Data-Encoding, Stream-Content-Type, "
    "Producer-Epoch, Producer-Seq, Producer-Expected-Seq, Producer-Received-Seq, "
    "Location, ETag, Retry-After, WWW-Authenticate"
)
_SAFETY: Headers = (
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
)


class Access:
    """Checks tokens and origins.

    Args:
        settings: secrets, API keys, allowed origins and whether this is a machine for development.
        now: seconds, that only grow.

    Raises:
        ConfigurationError: there is no secret.
    """

    def __init__(self, settings: StreamSettings, now: Callable[[], float] = time.monotonic) -> None:
        self.tokens = Tokens(settings.secrets(), ttl=settings.token_ttl)
        self._api_keys = [key.encode() for key in settings.api_keys]
        self._origins = frozenset(settings.allowed_origins)
        self._writing = settings.writing
        self._own_origin = origin_of(settings.public_url)
        self._development = settings.development or not settings.secret
        self._has_secret = bool(settings.secret)
        # A proxy on this machine that adds no header looks like a local client, so being local
        # is not enough to see all streams.
        self._page_key = secrets.token_urlsafe(24) if self._development else ""
        self._may_tell_page = Seldom(QUIET_SECONDS, now)
        self._may_tell_token = Seldom(QUIET_SECONDS, now)
        self._may_tell_remote = Seldom(math.inf, now)
        self._may_tell_origin = Seldom(QUIET_SECONDS, now)

    def refusal(self, scope: Any) -> Refused | None:
        """Why a connection's request is not answered at all, whatever it asks; None: it is.

        Without a secret anybody can sign tokens, so only this machine is served: under its own name
        (a page may have had its name pointed here: DNS rebinding), and no pages of other sites.
        """
        named: dict[bytes, list[str]] = {b"host": [], b"origin": [], b"sec-fetch-site": []}
        for name, value in scope["headers"]:
            if name in named:
                named[name].append(value.decode("latin-1"))
        hosts, origins = named[b"host"], named[b"origin"]
        # RFC 9112, 3.2. HTTP/2 has a pseudo-header, and HTTP/1.0 needs none.
        if len(hosts) > 1 or (not hosts and scope.get("http_version") == "1.1"):
            return Refused(400, "bad-request", "a request has one Host header")
        if self._has_secret:
            return None
        host = hosts[0] if hosts else ""
        client = (scope.get("client") or ("",))[0]
        scheme = scope.get("scheme", "http").replace("ws", "http")
        if client not in _THIS_MACHINE or not _LOCAL_HOST.match(host):
            if self._may_tell_remote():
                logger.warning(
                    "stream_secret is not set, so only this machine is served, as localhost: "
                    "refused a request from %.80r to %.200r", client, host,
                )  # fmt: skip
            words = "this relay server has no stream_secret, so it serves its own machine only"
            return Refused(403, "no-secret", words)
        if named[b"sec-fetch-site"] == ["same-origin"]:
            return None  # and its host is this machine's; proxies change the origin's
        if any(not (self.may_read(each) or self._is_own(each, scheme, host)) for each in origins):
            return Refused(403, "forbidden-origin", "not for pages of other sites")
        return None

    def grant(self, request: Request, stream_id: str, scope: str) -> Grant:
        """What the request's token or API key allows.

        Raises:
            Refused: 401, there is no good token; 404, it is not for this stream and `scope`.
        """
        bearer = bearer_of(request)
        if self.is_api_key(bearer):
            return Grant(stream_id, SCOPES, math.inf)
        refused: Refused | None = None
        for token in self._given_tokens(request, bearer) or [None]:
            try:
                grant = self.tokens.verify(token)
            except TokenError as error:
                refused = refused or _unauthorized(error)
                continue
            if grant.stream_id == stream_id and scope in grant.scopes:
                return grant
            refused = not_found()
        assert refused is not None
        if refused.code == "invalid-token" and self._may_tell_token():
            logger.warning(
                "a token was refused that this relay's stream_secret did not sign%s: the web "
                "application and the relay server need the same stream_secret",
                "" if self._has_secret else " (it has none)",
            )
        raise refused

    @property
    def page_path(self) -> str:
        """The path that opens the streams page of this process in development; else `""`.

        Browsers keep what follows `#` to themselves: the key is in no log and no Referer.
        """
        return f"/streams#key={self._page_key}" if self._page_key else ""

    def conversation_grants(self, request: Request, scope: str) -> list[Grant]:
        """The conversations that the request's tokens open for `scope`."""
        grants = []
        for token in self._given_tokens(request, bearer_of(request)):
            with contextlib.suppress(TokenError):
                grants.append(self.tokens.verify(token))
        return [
            grant for grant in grants if scope in grant.scopes and is_conversation(grant.stream_id)
        ]

    def check_oversight(self, request: Request) -> None:
        """Return when whoever asks may see all streams: by an API key, or by the page's link.

        Raises:
            Refused: 401, a key is needed; 404, there is none that would do.
        """
        self.check_oversight_offered(request)
        bearer = bearer_of(request)
        if self.is_api_key(bearer):
            return
        needed = "a key of stream_api_keys is needed"
        if self._is_own_machine(request):
            if hmac.compare_digest(bearer.encode(errors="surrogatepass"), self._page_key.encode()):
                return
            needed = "open the page by the link that the relay server has printed or logged"
            if self._may_tell_page():
                logger.warning("the streams page of this relay server opens at %s", self.page_path)
        code = "invalid-key" if bearer else "missing-key"
        challenge = (("www-authenticate", 'Bearer realm="streams"'),)
        raise Refused(401, code, needed, challenge)

    def check_oversight_offered(self, request: Request) -> None:
        """Return when somebody may see all streams from there.

        Raises:
            Refused: 404, nobody may.
        """
        if not self._api_keys and not self._is_own_machine(request):
            raise nothing_here()

    def _is_own_machine(self, request: Request) -> bool:
        """In development, from this machine, under its own name: not by way of a proxy, nor from a
        page of another host, nor from one whose name was made to point here (DNS rebinding).
        """
        return (
            self._development
            and request.client in _LOOPBACK_ADDRESSES
            and _LOOPBACK_HOST.match(request.headers.get("host", "")) is not None
            and _LOOPBACK_ORIGIN.match(request.headers.get("origin", "http://localhost"))
            is not None
            and not any(name in request.headers for name in _PROXY_HEADERS)
        )

    def shows_metrics(self, request: Request) -> bool:
        """Whether who asks may see the server's metrics: as `check_oversight`."""
        return self._is_own_machine(request) or self.is_api_key(bearer_of(request))

    def headers(self, request: Request) -> Headers:
        """The headers that every response to this request carries."""
        origin = request.headers.get("origin", "")
        cors = self._cors(origin)
        if origin and len(cors) == 1:
            self._tell_of(origin, request)
        return (*_SAFETY, *cors)

    def _tell_of(self, origin: str, request: Request) -> None:
        """The browser tells the page only that it failed, as when the relay were not there."""
        own = self._is_own(origin, request.scheme, request.headers.get("host", ""))
        if own or request.headers.get("sec-fetch-site") == "same-origin":
            return
        if self._may_tell_origin():
            logger.warning(
                "a page of %.200r may not read: its origin is not in stream_allowed_origins", origin
            )

    def issue(self, stream_id: str, ttl: float) -> tuple[str, int]:
        """A token to read and stop a stream, and when it expires (as `Tokens.issue`)."""
        return self.tokens.issue(stream_id, ttl=ttl)

    def preflight(self, request: Request) -> Reply:
        """The answer to OPTIONS."""
        headers = [
            (
                "access-control-allow-methods",
                _WRITING_METHODS if self._writing else _READING_METHODS,
            ),
            ("access-control-allow-headers", self._allowed_headers(request)),
            ("access-control-max-age", "600"),
            ("cache-control", "no-store"),
        ]
        allowed = self._cors(request.headers.get("origin", ""))
        return Reply(204, tuple(headers) if len(allowed) > 1 else headers_of_none())

    def _cors(self, origin: str) -> Headers:
        vary = (("vary", "Origin"),)
        if not origin:
            return vary
        if self.may_read(origin):
            return (
                ("access-control-allow-origin", origin),
                ("access-control-allow-credentials", "true"),
                ("access-control-expose-headers", _EXPOSED_HEADERS),
                *vary,
            )
        if ANY_ORIGIN in self._origins:
            # Without credentials: a cookie never counts here.
            return (
                ("access-control-allow-origin", ANY_ORIGIN),
                ("access-control-expose-headers", _EXPOSED_HEADERS),
                *vary,
            )
        return vary

    def may_read(self, origin: str) -> bool:
        """Whether pages of this origin may read with what the browser knows of the visitor."""
        if origin in self._origins:
            return True
        return self._development and _LOOPBACK_ORIGIN.match(origin) is not None

    def may_connect(self, origin: str, scheme: str, host: str) -> bool:
        """Whether pages of this origin may open a WebSocket here and send a token by it.

        As for reading by requests, of which a browser itself asks no leave of its own origin.
        """
        return (
            ANY_ORIGIN in self._origins
            or self.may_read(origin)
            or self._is_own(origin, scheme.replace("ws", "http"), host)
        )

    def _is_own(self, origin: str, scheme: str, host: str) -> bool:
        return origin in (f"{scheme}://{host}", self._own_origin)

    def _allowed_headers(self, request: Request) -> str:
        """Ours, and those asked for: a redirected request carries headers of the application's."""
        ours = _WRITING_HEADERS if self._writing else _ALLOWED_HEADERS
        asked = request.headers.get("access-control-request-headers", "")
        return f"{ours}, {asked}" if _HEADER_NAMES.match(asked) else ours

    def is_api_key(self, bearer: str) -> bool:
        given = bearer.encode(errors="surrogatepass")
        found = [hmac.compare_digest(given, key) for key in self._api_keys]  # all, whatever matches
        return any(found)

    def _given_tokens(self, request: Request, bearer: str) -> list[str | None]:
        """Header first, then the cookie, then the query.

        All of them, because a browser that was redirected here still sends its header for the
        application, and perhaps the cookie of another stream.
        """
        tokens: list[str | None] = [bearer]
        if self._is_from_us(request):
            tokens.append(cookie_value(request.headers.get("cookie", ""), COOKIE))
        tokens.append(query_fields(request.query).get("token"))
        return [token for token in tokens if token]

    def _is_from_us(self, request: Request) -> bool:
        """A cookie is sent whoever asks, so it counts only for pages that may read."""
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
        if site == "same-origin":  # no page can set this; proxies change the host
            return True
        if origin is not None:
            host = request.headers.get("host", "")
            return self._is_own(origin, request.scheme, host) or self.may_read(origin)
        # Without an origin it is a GET: of the same origin, or of a page that cannot read it.
        return site is None and request.method in ("GET", "HEAD")


def bearer_of(request: Request) -> str:
    """What `Authorization: Bearer` carries, or `""`."""
    return bearer_in(request.headers.get("authorization", ""))


def bearer_in(authorization: str) -> str:
    """As `bearer_of`, of the header's value."""
    kind, _, value = authorization.partition(" ")
    return value.strip() if kind.lower() == "bearer" else ""


def headers_of_none() -> Headers:
    """A preflight's headers for an origin that is not allowed: none, so the browser refuses."""
    return (("cache-control", "no-store"),)


def cookie_value(header: str, name: str) -> str:
    """One cookie of a `Cookie` header, `""` when it is not there."""
    for part in header.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value.strip('"')
    return ""


def origin_of(url: str) -> str:
    """The origin of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def _unauthorized(error: TokenError) -> Refused:
    challenge = 'Bearer realm="streams"'
    if error.code != "missing-token":
        challenge += f', error="invalid_token", error_description="{error}"'
    return Refused(401, error.code, str(error), (("www-authenticate", challenge),))
