"""FastAPI: a warning at the start for middlewares that keep a mounted relay's answers back."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from streamstraight_celery.integrations.fastapi import Streams
from streamstraight_celery.runtime import Runtime

LOGGER = "streamstraight_celery.integrations.middlewares"
ORIGIN = "https://app.example"
ENOUGH = {"allow_methods": ["GET", "POST"], "allow_headers": ["authorization", "Last-Event-ID"]}


class BrotliMiddleware(GZipMiddleware):
    """Somebody else's."""


class Timing(BaseHTTPMiddleware):
    """Passes everything on."""

    async def dispatch(self, request: Any, call_next: Any) -> Any:
        return await call_next(request)


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        (BrotliMiddleware, {}, "BrotliMiddleware may rewrite streaming responses"),
        (CORSMiddleware, {}, "CORSMiddleware answers the preflights"),
        (CORSMiddleware, {"allow_headers": ["*"]}, "CORSMiddleware answers the preflights"),
        (CORSMiddleware, ENOUGH, ""),
        (CORSMiddleware, {"allow_methods": ["*"], "allow_headers": ["*"]}, ""),
        (Timing, {}, "Timing is a BaseHTTPMiddleware"),
        (GZipMiddleware, {}, ""),  # it heeds Content-Encoding
    ],
)
def test_the_start_tells(
    caplog: pytest.LogCaptureFixture, redis_url: str, kind: Any, options: dict[str, Any], told: str
) -> None:
    app = Celery("fastapi", broker=redis_url, set_as_current=False)
    app.conf.update(stream_secret="a-secret-of-these-tests", stream_allowed_origins=[ORIGIN])
    streams = Streams(app)
    api = FastAPI(lifespan=streams.lifespan)
    if kind is CORSMiddleware:
        options = {"allow_origins": [ORIGIN], **options}
    api.add_middleware(kind, **options)
    api.mount("/relay", streams.relay)
    preflight = {
        "Origin": ORIGIN, "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }  # fmt: skip
    with TestClient(api) as client:
        answered = client.options("/relay/v1/stop/x", headers=preflight).status_code
    said = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert [told in line for line in said] == ([True] if told else [])
    assert (answered < 300) == ("preflights" not in told)
    Runtime.of(app).close()
