"""Tokens, origins and the headers for browsers: pure functions."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from streamstraight_celery.errors import ConfigurationError
from streamstraight_celery.server.access import COOKIE, Access, cookie_value, origin_of
from streamstraight_celery.server.http import Refused, Request
from streamstraight_celery.settings import StreamSettings, read_settings
from streamstraight_celery.tokens import Tokens

SECRET = "the secret of the access tests"
APP, RELAY, OTHER = "https://app.example", "https://relay.example", "https://evil.example"


def access(**changes: Any) -> Access:
    given = {"secret": (SECRET,), "allowed_origins": (APP,), "public_url": RELAY, **changes}
    return Access(StreamSettings(**given))


def token(stream_id: str = "s", **options: Any) -> str:
    return Tokens([SECRET]).issue(stream_id, **options)[0]


def request(query: str = "", method: str = "GET", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, "/v1/stream/s", query, {"host": "relay.example", **named}, "https")


def refusal(asked: Request, scope: str = "read", **changes: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        access(**changes).grant(asked, "s", scope)
    return refused.value


@pytest.mark.parametrize("other", ["nonsense", token("another"), token("s", scopes=["stop"])])
def test_one_good_token_is_enough(other: str) -> None:
    """A redirect brings along the header that was meant for the application."""
    bearer, cookie = {"authorization": f"Bearer {token()}"}, {"cookie": f"{COOKIE}={token()}"}
    bad_bearer, bad_cookie = {"authorization": f"Bearer {other}"}, {"cookie": f"{COOKIE}={other}"}
    for asked in (
        request(f"token={other}", **bearer, **bad_cookie),
        request(f"token={other}", **bad_bearer, **cookie),
        request(f"token={token()}", **bad_bearer, **bad_cookie),
    ):
        assert access().grant(asked, "s", "read").stream_id == "s"


def test_the_first_reason_is_told() -> None:
    assert refusal(request("token=x", authorization=f"Bearer {token(ttl=-1)}")).code == (
        "expired-token"
    )
    assert refusal(request(f"token={token('t')}", authorization="Bearer x")).status == 404


def test_the_query_counts_last() -> None:
    assert access().grant(request(f"token={token()}"), "s", "read")


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer"])
def test_the_scheme_is_case_insensitive(scheme: str) -> None:
    assert access().grant(request(authorization=f"{scheme} {token()}"), "s", "read")


@pytest.mark.parametrize(
    ("method", "headers", "counts"),
    [
        ("GET", {"origin": APP}, True),
        ("GET", {"origin": RELAY}, True),
        ("GET", {"origin": OTHER}, False),
        ("GET", {"origin": "null"}, False),
        ("GET", {"sec-fetch-site": "same-origin"}, True),
        ("GET", {"sec-fetch-site": "same-site"}, False),
        ("GET", {"origin": OTHER, "sec-fetch-site": "same-origin"}, True),  # a proxy's host
        ("POST", {"origin": OTHER, "sec-fetch-site": "same-origin"}, True),
        ("POST", {"origin": OTHER, "sec-fetch-site": "same-site"}, False),
        ("GET", {"sec-fetch-site": "cross-site"}, False),
        ("GET", {}, True),
        ("POST", {}, False),
        ("POST", {"origin": APP}, True),
        ("POST", {"origin": OTHER}, False),
    ],
)
def test_a_cookie_counts_only_for_pages_that_may_read(
    method: str, headers: dict[str, str], counts: bool
) -> None:
    asked = request(method=method, cookie=f"a=b; {COOKIE}={token()}; c=d", **headers)
    if counts:
        assert access().grant(asked, "s", "read")
    else:
        assert refusal(asked).code == "missing-token"


def test_any_origin_gets_no_cookie() -> None:
    asked = request(cookie=f"{COOKIE}={token()}", origin=OTHER)
    assert refusal(asked, allowed_origins=("*",)).status == 401
    headers = dict(access(allowed_origins=("*",)).headers(asked))
    assert headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in headers


def test_missing_token() -> None:
    refused = refusal(request())
    assert (refused.status, refused.code) == (401, "missing-token")
    assert dict(refused.headers)["www-authenticate"] == 'Bearer realm="streams"'


@pytest.mark.parametrize(
    ("given", "code"),
    [("nonsense", "invalid-token"), (token(ttl=-5), "expired-token")],
)
def test_bad_tokens(given: str, code: str) -> None:
    refused = refusal(request(authorization=f"Bearer {given}"))
    assert (refused.status, refused.code) == (401, code)
    assert 'error="invalid_token"' in dict(refused.headers)["www-authenticate"]


@pytest.mark.parametrize(
    ("given", "scope"),
    [
        (token("other"), "read"),
        (token(scopes=["stop"]), "read"),
        (token(scopes=["read"]), "stop"),
        (token(scopes=[]), "read"),
    ],
)
def test_what_is_not_allowed_looks_as_if_it_were_not_there(given: str, scope: str) -> None:
    refused = refusal(request(authorization=f"Bearer {given}"), scope)
    assert (refused.status, refused.code) == (404, "not-found")


@pytest.mark.parametrize(
    ("origin", "changes", "allowed"),
    [
        (APP, {}, True),
        (OTHER, {}, False),
        (APP + ".evil.example", {}, False),
        ("http://app.example", {}, False),
        ("http://localhost:5173", {}, False),
        ("http://localhost:5173", {"development": True}, True),
        ("http://127.0.0.1:5000", {"development": True}, True),
        ("http://[::1]:5000", {"development": True}, True),
        ("http://localhost.evil.example", {"development": True}, False),
        (OTHER, {"development": True}, False),
        ("http://localhost:5173", {"secret": (), "public_url": "http://localhost:8787"}, True),
        ("null", {"development": True}, False),
        ("http://[", {"development": True}, False),
    ],
)
def test_only_allowed_origins_may_read(origin: str, changes: dict[str, Any], allowed: bool) -> None:
    checker = access(**changes)
    headers = dict(checker.headers(request(origin=origin)))
    preflight = dict(checker.preflight(request(method="OPTIONS", origin=origin)).headers)
    assert headers["vary"] == "Origin"
    if allowed:
        assert headers["access-control-allow-origin"] == origin
        assert headers["access-control-allow-credentials"] == "true"
        assert "Stream-Next-Offset" in headers["access-control-expose-headers"]
        assert "Retry-After" in headers["access-control-expose-headers"]
        assert "GET" in preflight["access-control-allow-methods"]
        assert "Authorization" in preflight["access-control-allow-headers"]
    else:
        assert not [name for name in {**headers, **preflight} if name.startswith("access-control")]


def test_browsers_are_told_to_be_careful() -> None:
    headers = dict(access().headers(request()))
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_without_a_secret_nobody_can_be_let_in() -> None:
    with pytest.raises(ConfigurationError, match="stream_secret is not set"):
        access(secret=())


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("a=1; b=2", "2"),
        ('b="2"', "2"),
        ("bb=1;b=2;b=3", "2"),
        ("", ""),
        ("b", ""),
        ("ab=1", ""),
    ],
)
def test_cookies(header: str, value: str) -> None:
    assert cookie_value(header, "b") == value


@pytest.mark.parametrize(
    ("url", "origin"),
    [("https://a.example/x/y", "https://a.example"), ("http://a:1", "http://a:1"), ("/x", "")],
)
def test_origins(url: str, origin: str) -> None:
    assert origin_of(url) == origin


KEY = "an API key of a back end"


@pytest.mark.parametrize("scope", ["read", "stop", "write"])
def test_an_api_key_allows_every_stream(scope: str) -> None:
    asked = request(authorization=f"Bearer {KEY}")
    assert access(api_keys=("another key entirely", KEY)).grant(asked, "s", scope)


def test_an_api_key_counts_only_in_the_header() -> None:
    assert refusal(request(f"token={KEY}"), api_keys=(KEY,)).status == 401
    assert refusal(request(cookie=f"{COOKIE}={KEY}"), api_keys=(KEY,)).status == 401


@pytest.mark.parametrize("given", ["", KEY[:-1], KEY + "x", KEY.upper()])
def test_another_key_is_refused(given: str) -> None:
    assert refusal(request(authorization=f"Bearer {given}"), api_keys=(KEY,)).status == 401


def test_a_short_api_key_is_refused() -> None:
    app = Celery(set_as_current=False)
    app.conf.update(stream_api_keys=["short"])
    with pytest.raises(ConfigurationError, match="at least 16 random characters"):
        read_settings(app)


def test_a_token_for_reading_does_not_write() -> None:
    assert refusal(request(authorization=f"Bearer {token()}"), "write").status == 404
    writing = request(authorization=f"Bearer {token(scopes=['write'])}")
    assert access().grant(writing, "s", "write")
    assert refusal(writing, "read").status == 404


def test_writing_is_offered_to_browsers_only_when_it_is_on() -> None:
    asked = request(method="OPTIONS", origin=APP)
    for writing in (False, True):
        headers = dict(access(writing=writing).preflight(asked).headers)
        assert ("PUT" in headers["access-control-allow-methods"]) is writing
        assert ("Producer-Id" in headers["access-control-allow-headers"]) is writing


def test_a_preflight_allows_the_application_s_own_headers() -> None:
    """Behind a redirect they come here, and browsers ask for them first."""

    def allowed(names: str) -> str:
        asked = request(method="OPTIONS", origin=APP, access_control_request_headers=names)
        return dict(access().preflight(asked).headers)["access-control-allow-headers"]

    assert allowed("x-csrftoken,x-request-id").endswith(", x-csrftoken,x-request-id")
    for odd in ("", "*", "a b", "a\r\nset-cookie: x", "a," * 40 + "a"):
        assert allowed(odd) == allowed("")
    foreign = request(method="OPTIONS", origin=OTHER, access_control_request_headers="x-a")
    assert "access-control-allow-headers" not in dict(access().preflight(foreign).headers)


class TestMistakesThatOnlyTheLogCanTell:
    """The browser's console, or the visitor, is told no more than that it did not work."""

    def test_a_page_that_may_not_read(self, caplog: pytest.LogCaptureFixture) -> None:
        relay = access()
        for origin in (APP, RELAY):
            relay.headers(request(origin=origin))
        assert not caplog.records
        for _ in range(2):
            relay.headers(request(origin=OTHER))
        (told,) = caplog.messages
        assert OTHER in told
        assert "stream_allowed_origins" in told

    def test_a_token_that_another_secret_signed(self, caplog: pytest.LogCaptureFixture) -> None:
        foreign = Tokens(["the secret of the web application"]).issue("s")[0]
        relay = access()
        for bearer in ("", token("another"), token(ttl=-1), foreign, foreign):
            with pytest.raises(Refused):
                relay.grant(request(authorization=f"Bearer {bearer}"), "s", "read")
        (told,) = caplog.messages
        assert "the same stream_secret" in told
        assert "has none" not in told

    def test_a_token_for_a_relay_without_a_secret(self, caplog: pytest.LogCaptureFixture) -> None:
        relay = access(secret=(), public_url="http://127.0.0.1:8787")
        with pytest.raises(Refused):
            relay.grant(request(authorization=f"Bearer {token()}"), "s", "read")
        assert "has none" in caplog.text

    def test_again_after_a_while(self, caplog: pytest.LogCaptureFixture) -> None:
        settings = StreamSettings(secret=(SECRET,), public_url=RELAY)
        relay = Access(settings, iter([0.0, 59.0, 61.0]).__next__)
        for origin in (OTHER, OTHER, "https://other.example"):
            relay.headers(request(origin=origin))
        assert len(caplog.messages) == 2
