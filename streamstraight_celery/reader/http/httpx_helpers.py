"""What the sync and the async reader share about httpx."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...errors import MissingDependencyError
from ..events import Failure
from .answers import Answer, is_done

if TYPE_CHECKING:
    import httpx

# The relay sends at least a comment every 15 s: after three missing ones nobody is there.
SILENCE = 45.0
CONNECT = 10.0


def load_httpx() -> Any:
    """The module httpx.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import httpx
    except ImportError as error:
        raise MissingDependencyError("httpx", "reader") from error
    return httpx


def timeout() -> httpx.Timeout:
    found: httpx.Timeout = load_httpx().Timeout(CONNECT, read=SILENCE)
    return found


def errors() -> tuple[type[Exception], ...]:
    """What httpx raises for a request that came to nothing, or a response that was cut."""
    httpx = load_httpx()
    return (httpx.HTTPError, httpx.StreamError)


def failure_of(error: Exception) -> Failure:
    """What one of those `errors` means."""
    if isinstance(error, load_httpx().ReadTimeout):
        return Failure("timeout", f"the relay was silent for {SILENCE:g} s", cause=error)
    return Failure("network", f"the connection failed ({error})", cause=error)


def is_body_wanted(response: httpx.Response) -> bool:
    """The body is a refusal, to be read as a whole."""
    return response.status_code not in (200, 204)


def answer_of(response: httpx.Response, body: bytes = b"") -> Answer:
    return Answer(response.status_code, response.headers, body)


def moved_to(response: httpx.Response, asked: str) -> str:
    """Where a POST is to be sent again; `""`: it has arrived, or was sent to another host.

    Redirects other than 307 and 308 make a GET of it.
    """
    if not response.history or is_done(answer_of(response, response.content)):
        return ""
    return str(response.url) if response.url.host == urlsplit(asked).hostname else ""


def socket_of(extensions: Mapping[str, Any]) -> Any:
    """A response's socket, None when the client has none."""
    stream = extensions.get("network_stream")
    return None if stream is None else stream.get_extra_info("socket")


def connected(event: str, info: Mapping[str, Any]) -> Any:
    """The socket of a connection of which httpx's `trace` tells, None for all else."""
    made = event.endswith(("connect_tcp.complete", "start_tls.complete"))
    return info["return_value"].get_extra_info("socket") if made else None
