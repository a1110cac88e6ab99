"""Short-lived tokens that allow one stream to be read, and perhaps stopped or written.

A conversation's token allows the same of all its streams, and to send messages to it.

JWT, HS256 only, with audience, issuer, subject (the exact stream id) and scope. Two secrets may be
configured: the first signs, both verify, so that a secret can be changed without a gap.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import ConfigurationError, TokenError
from .settings.secrets import HOW_TO_MAKE_ONE, weakness_of

AUDIENCE = "streamstraight-celery"
ISSUER = "streamstraight-celery"
ALGORITHM = "HS256"
SCOPES = frozenset({"read", "stop", "write", "send"})
CONVERSATION_SCOPES = ("read", "send", "stop")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a verified token allows."""

    stream_id: str
    scopes: frozenset[str]
    expires_at: float


class Tokens:
    """Issues and verifies tokens.

    Args:
        secrets: one or two secrets of at least 16 characters; the first signs.
        ttl: seconds that a new token is valid.
        now: the clock, seconds since the epoch.
    """

    def __init__(
        self,
        secrets: Sequence[str],
        *,
        ttl: float = 3600.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        if not secrets:
            raise ConfigurationError("stream_secret is empty: no token can be issued or verified")
        for secret in secrets:
            if fault := weakness_of(secret):
                raise ConfigurationError(f"stream_secret {fault} ({HOW_TO_MAKE_ONE})")
        self._keys = [_key(secret) for secret in secrets]
        self._ttl = ttl
        self._now = now

    def issue(
        self,
        stream_id: str,
        *,
        scopes: Iterable[str] = ("read", "stop"),
        ttl: float | None = None,
    ) -> tuple[str, int]:
        """Return a token for `stream_id` and the time it expires, in seconds since the epoch.

        Raises:
            ConfigurationError: an unknown scope.
        """
        if isinstance(scopes, str):
            raise ConfigurationError(f"scopes={scopes!r} must be a list: scopes=[{scopes!r}]")
        wanted = frozenset(scopes)
        if not wanted <= SCOPES:
            raise ConfigurationError(
                f"unknown token scope {sorted(wanted - SCOPES)}: use 'read', 'stop', 'write' (and "
                "'send' for a conversation)"
            )
        now = int(self._now())
        expires_at = now + int(self._ttl if ttl is None else ttl)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": stream_id,
            "scope": " ".join(sorted(wanted)),
            "iat": now,
            "exp": expires_at,
        }
        import jwt  # It costs as much as the rest of the package, and a worker has no use for it.

        return jwt.encode(claims, self._keys[0], algorithm=ALGORITHM), expires_at

    def verify(self, token: str | None) -> Grant:
        """Return what `token` allows.

        Raises:
            TokenError: code `missing-token`, `expired-token` or `invalid-token`.
        """
        if not token:
            raise TokenError("missing-token", "a token is needed: Authorization: Bearer <token>")
        claims = self._claims(token)
        if (late := self._now() - claims["exp"]) >= 0:
            raise TokenError(
                "expired-token",
                f"the token expired {late:.0f} s ago by this server's clock: ask for a new one. If "
                "it is new, the clocks of the application and of this server differ",
            )
        scopes = frozenset(str(claims.get("scope", "")).split())
        return Grant(str(claims["sub"]), scopes & SCOPES, float(claims["exp"]))

    def _claims(self, token: str) -> dict[str, Any]:
        import jwt

        for key in self._keys:
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    key,
                    algorithms=[ALGORITHM],
                    audience=AUDIENCE,
                    issuer=ISSUER,
                    # Expiry is checked by verify(), against the injected clock.
                    options={
                        "require": ["exp", "sub", "aud", "iss"],
                        "verify_exp": False,
                        "verify_iat": False,
                    },
                )
            except (jwt.InvalidTokenError, UnicodeEncodeError):  # in JSON, a token may be no text
                continue
            if isinstance(claims["exp"], (int, float)):
                return claims
        raise TokenError("invalid-token", "the token is not valid for this relay")


def _key(secret: str) -> bytes:
    # A secret of any length becomes a key of the full length that HS256 wants (RFC 7518, 3.2).
    return hashlib.sha256(b"streamstraight-celery token\0" + secret.encode()).digest()
