"""Middlewares around a mounted relay server that hold back, cut or refuse what it answers."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from typing import Any

logger = logging.getLogger(__name__)

REWRITES = re.compile(r"gzip|compress|brotli|zstd|minif|minhtml|htmlmin", re.IGNORECASE)
# These leave alone what has a Content-Encoding, which the relay server's responses have.
_HARMLESS = ("django.", "starlette.", "fastapi.")
_COMPLETES = "starlette.middleware.base.BaseHTTPMiddleware"
_HEADERS = {"authorization", "last-event-id"}
_METHODS = {"GET", "POST"}


def rewrites(name: str) -> bool:
    """Whether a middleware, by its dotted name, may rewrite streaming responses."""
    return REWRITES.search(name) is not None and not name.startswith(_HARMLESS)


def completes(kind: Any) -> bool:
    """Whether a middleware class completes what is cut off, so that it looks whole."""
    bases = getattr(kind, "__mro__", ())
    return any(f"{base.__module__}.{base.__name__}" == _COMPLETES for base in bases)


def warn_of_middlewares(app: Any) -> None:
    """Log what is wrong with the middlewares of a Starlette or FastAPI application."""
    for fault in faults_of(app):
        logger.warning("%s", fault)


def faults_of(app: Any) -> Iterator[str]:
    """What is wrong with them, each with what to do."""
    for each in getattr(app, "user_middleware", ()):
        kind = getattr(each, "cls", None)
        name = f"{getattr(kind, '__module__', '')}.{getattr(kind, '__name__', '')}"
        if rewrites(name):
            yield (
                f"{name} may rewrite streaming responses of the mounted relay server: then an "
                "answer is held back or cut. Let it skip responses with a Content-Encoding (the "
                "relay server's say 'identity') or the paths of the relay server"
            )
        elif completes(kind):
            yield (
                f"{name} is a BaseHTTPMiddleware (or @app.middleware('http')), which ends in good "
                "order what breaks off: of an answer that failed, clients of /v1/text and of "
                "envelopes see nothing but a shorter one. Write it as a pure ASGI middleware"
            )
        elif name.endswith(".CORSMiddleware"):
            given: dict[str, Any] = getattr(each, "kwargs", {})
            headers = [str(header).lower() for header in given.get("allow_headers", ())]
            methods = given.get("allow_methods", ("GET",))
            if not _allow(headers, _HEADERS) or not _allow(methods, _METHODS):
                yield (
                    f"{name} answers the preflights of the mounted relay server and refuses its "
                    'readers: give it allow_methods=["GET", "POST"] and allow_headers='
                    '["Authorization", "Last-Event-ID"], or ["*"] for each'
                )


def _allow(given: Iterable[str], needed: set[str]) -> bool:
    return "*" in given or needed <= set(given)
