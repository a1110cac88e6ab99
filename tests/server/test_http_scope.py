"""What the protocol sees of an ASGI scope."""

from __future__ import annotations

from streamstraight_celery.server.access import COOKIE, cookie_value
from streamstraight_celery.server.http import Request, matches, request_of


def request(*headers: tuple[str, str]) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    return request_of({"method": "GET", "path": "/v1/stream/s", "headers": raw})


def test_cookies_in_headers_of_their_own_count_all() -> None:
    # As HTTP/2 clients may send them (RFC 9113, 8.2.3).
    asked = request(("cookie", "a=b"), ("cookie", f"{COOKIE}=token"), ("cookie", "c=d"))
    assert cookie_value(asked.headers["cookie"], COOKIE) == "token"


def test_a_list_may_be_in_several_headers() -> None:
    asked = request(("if-none-match", '"x"'), ("if-none-match", '"y", "z"'))
    for tag in ('"x"', '"y"', '"z"'):
        assert matches(asked.headers["if-none-match"], tag)


def test_of_a_header_that_stands_twice_neither_is_chosen() -> None:
    asked = request(("producer-seq", "1"), ("accept", "*/*"), ("producer-seq", "2"))
    assert asked.headers == {"producer-seq": "1, 2", "accept": "*/*"}
