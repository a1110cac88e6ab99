"""Who may read from where: tokens, origins and the headers that browsers ask for. No I/O."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ..errors import TokenError
from ..settings import StreamSettings
from ..tokens import Grant, Tokens
from .durable import Headers, Refused, Reply, Request, not_found, query_fields

COOKIE = "streamstraight_token"
ANY_ORIGIN = "*"
_LOOPBACK_ORIGIN = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?\Z", re.ASCII)
_ALLOWED_HEADERS = "Authorization, Cache-Control, Content-Type, If-None-Match, Last-Event-ID"
_EXPOSED_HEADERS = (
    "Stream-Next-Offset, Stream-Cursor, Stream-Up-To-Date, Stream-Closed, Stream-End-Reason, "
    "ETag, Retry-After, WWW-Authenticate"
)
_SAFETY: Headers = (
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
)


class Access:
    """Checks tokens and origins.

    Args:
        settings: secrets, allowed origins and whether this is a machine for development.

    Raises:
        ConfigurationError: there is no secret.
    """

    def __init__(self, settings: StreamSettings) -> None:
        self._tokens = Tokens(settings.secrets(), ttl=settings.token_ttl)
        self._origins = frozenset(settings.allowed_origins)
        self._own_origin = origin_of(settings.public_url)
        self._development = settings.development or not settings.secret

    def grant(self, request: Request, stream_id: str, scope: str) -> Grant:
        """What the request's token allows.

        Raises:
            Refused: 401, there is no good token; 404, it is not for this stream and `scope`.
        """
        try:
            grant = self._tokens.verify(self._token(request))
        except TokenError as error:
            raise _unauthorized(error) from None
        if grant.stream_id != stream_id or scope not in grant.scopes:
            raise not_found()
        return grant

    def headers(self, request: Request) -> Headers:
        """The headers that every response to this request carries."""
        return (*_SAFETY, *self._cors(request.headers.get("origin", "")))

    def preflight(self, request: Request) -> Reply:
        """The answer to OPTIONS."""
        headers = [
            ("access-control-allow-methods", "GET, HEAD, POST, OPTIONS"),
            ("access-control-allow-headers", _ALLOWED_HEADERS),
            ("access-control-max-age", "600"),
            ("cache-control", "no-store"),
        ]
        allowed = self._cors(request.headers.get("origin", ""))
        return Reply(204, tuple(headers) if len(allowed) > 1 else headers_of_none())

    def _cors(self, origin: str) -> Headers:
        vary = (("vary", "Origin"),)
        if not origin:
            return vary
        if self._may_read(origin):
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

    def _may_read(self, origin: str) -> bool:
        if origin in self._origins:
            return True
        return self._development and _LOOPBACK_ORIGIN.match(origin) is not None

    def _token(self, request: Request) -> str | None:
        """Header first, then the cookie, then the query."""
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and value.strip():
            return value.strip()
        cookie = cookie_value(request.headers.get("cookie", ""), COOKIE)
        if cookie and self._is_from_us(request):
            return cookie
        return query_fields(request.query).get("token")

    def _is_from_us(self, request: Request) -> bool:
        """A cookie is sent whoever asks, so it counts only for pages that may read."""
        origin = request.headers.get("origin")
        if origin is not None:
            here = f"{request.scheme}://{request.headers.get('host', '')}"
            return origin in (here, self._own_origin) or self._may_read(origin)
        # Without an origin it is a GET: of the same origin, or of a page that cannot read it.
        site = request.headers.get("sec-fetch-site", "same-origin")
        return site == "same-origin" and request.method in ("GET", "HEAD")


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
