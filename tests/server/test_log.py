"""Tokens stay out of access logs."""

from __future__ import annotations

import logging

import pytest

from streamstraight_celery.server.log import redact_tokens, without_token


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/v1/stream/x?token=abc.def", "/v1/stream/x?token=***"),
        ("/x?token=abc&live=sse", "/x?token=***&live=sse"),
        ("/x?live=sse&token=abc HTTP/1.1", "/x?live=sse&token=*** HTTP/1.1"),
        ("/x?mytoken=abc", "/x?mytoken=abc"),
        ("/x?live=sse", "/x?live=sse"),
    ],
)
def test_tokens_are_left_out(text: str, expected: str) -> None:
    assert without_token(text) == expected


def test_access_logs_show_no_tokens(caplog: pytest.LogCaptureFixture) -> None:
    redact_tokens()
    redact_tokens()
    logger = logging.getLogger("uvicorn.access")
    with caplog.at_level(logging.INFO, "uvicorn.access"):
        logger.info('%s - "%s %s HTTP/%s" %d', "1.2.3.4:5", "GET", "/x?token=abc", "1.1", 200)
        logger.info("GET /x?token=abc")
    assert caplog.messages == ['1.2.3.4:5 - "GET /x?token=*** HTTP/1.1" 200', "GET /x?token=***"]
