"""Client tokens, by `POST /v1/token` with the API key."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from typing import Any

import jwt

from ...errors import ConfigurationError, RelayRefusedError, RelayUnavailableError
from ..base import Access
from .progress import Service

TIMEOUT = 10.0
# A token of the service is for all streams; it is used again until so long before its end.
MARGIN = 120.0
LARGEST = 64 * 1024


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key elsewhere."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class ClientTokens:
    """Asks for tokens, and keeps one that is good for all streams.

    Args:
        service: where, and the key.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._open = urllib.request.build_opener(_NoRedirects).open
        self._lock = threading.Lock()
        self._kept: Access | None = None

    def get(self, stream_id: str, scopes: Iterable[str], ttl: float | None) -> Access:
        """What a client needs to read this stream.

        Raises:
            ConfigurationError: a lifetime is asked for, which the service decides by itself.
            RelayRefusedError: the service refuses the key.
            RelayUnavailableError: the service does not answer.
        """
        if ttl is not None:
            raise ConfigurationError(
                "ttl: Streamstraight decides how long its tokens are valid; leave it out"
            )
        with self._lock:
            kept = self._kept
        if kept is not None and kept.expires_at - time.time() > MARGIN:
            return kept
        answer = self._ask(stream_id, scopes)
        token = answer["token"]
        expires_at = answer.get("expiresAt")
        access = Access(
            # A relay of ours names the URL, and its token is for this stream alone.
            url=str(answer.get("url") or self._service.url),
            token=token,
            expires_at=expires_at if isinstance(expires_at, int) else _expiry(token),
        )
        if "url" not in answer:
            with self._lock:
                self._kept = access
        return access

    def _ask(self, stream_id: str, scopes: Iterable[str]) -> dict[str, Any]:
        url = f"{self._service.url}/v1/token"
        headers = {
            "Authorization": f"Bearer {self._service.key}",
            "Stream-Id": stream_id,
            "Stream-Scopes": " ".join(scopes),
            # For our relay server: readers may connect before the task starts.
            "Stream-Announce": "1",
            "User-Agent": "streamstraight-celery",
        }
        request = urllib.request.Request(url, b"", headers, method="POST")
        try:
            with self._open(request, timeout=TIMEOUT) as response:
                answer = json.loads(response.read(LARGEST))
        except urllib.error.HTTPError as error:
            with error:
                body = error.read(400).decode(errors="replace")
            kind = RelayUnavailableError if error.code >= 500 else RelayRefusedError
            raise kind(f"{url} answered HTTP {error.code}: {body}") from None
        except (OSError, ValueError) as error:
            raise RelayUnavailableError(f"{url} did not give a token ({error})") from error
        if not isinstance(answer, dict) or not isinstance(answer.get("token"), str):
            raise RelayUnavailableError(f"{url} did not give a token, but {str(answer)[:80]}")
        return answer


def _expiry(token: str) -> int:
    """When a token expires, as it says itself; 0 when it does not."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False, "verify_exp": False})
        return int(claims["exp"])
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
        return 0
