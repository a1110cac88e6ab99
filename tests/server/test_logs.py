"""Tokens stay out of access logs."""

from __future__ import annotations

import logging

import pytest
from gunicorn.glogging import SafeAtoms

from streamstraight_celery.server.logs import redact_tokens, without_token


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
    with caplog.at_level(logging.INFO):
        logger.info('%s - "%s %s HTTP/%s" %d', "1.2.3.4:5", "GET", "/x?token=abc", "1.1", 200)
        logger.info("GET /x?token=abc")
        shape = '%(h)s "%(r)s" %(s)s %(q)s'
        atoms = {"h": "1.2.3.4", "r": "GET /x?token=abc HTTP/1.1", "s": 200, "q": "token=abc"}
        logging.getLogger("gunicorn.access").info(shape, SafeAtoms(atoms))
        logging.getLogger("hypercorn.access").info(shape, atoms)
        logging.getLogger("uvicorn.error").info(
            '%s - "WebSocket %s" 403', "1.2.3.4", "/x?token=abc"
        )
    assert caplog.messages == [
        '1.2.3.4:5 - "GET /x?token=*** HTTP/1.1" 200',
        "GET /x?token=***",
        '1.2.3.4 "GET /x?token=*** HTTP/1.1" 200 token=***',
        '1.2.3.4 "GET /x?token=*** HTTP/1.1" 200 token=***',
        '1.2.3.4 - "WebSocket /x?token=***" 403',
    ]
