"""Tokens: one stream, one algorithm, a time, two secrets."""

from __future__ import annotations

import jwt
import pytest

from streamstraight_celery.errors import ConfigurationError, TokenError
from streamstraight_celery.tokens import Tokens, _key

SECRET = "a-secret-of-sufficient-length"
OTHER = "another-secret-of-fine-length"


class Clock:
    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(clock: Clock) -> Tokens:
    return Tokens([SECRET], ttl=60, now=clock)


def test_a_token_names_its_stream_and_scopes(tokens: Tokens) -> None:
    token, expires_at = tokens.issue("s", scopes=["read"])
    grant = tokens.verify(token)
    assert (grant.stream_id, grant.scopes, grant.expires_at) == ("s", {"read"}, expires_at)


def test_reading_and_stopping_by_default(tokens: Tokens) -> None:
    assert tokens.verify(tokens.issue("s")[0]).scopes == {"read", "stop"}


@pytest.mark.parametrize(("seconds", "valid"), [(59.9, True), (60, False), (10_000, False)])
def test_it_expires(tokens: Tokens, clock: Clock, seconds: float, valid: bool) -> None:
    token, expires_at = tokens.issue("s")
    assert expires_at == 1_000_060
    clock.time += seconds
    if valid:
        tokens.verify(token)
    else:
        with pytest.raises(TokenError) as error:
            tokens.verify(token)
        assert error.value.code == "expired-token"
        late = f"expired {seconds - 60:.0f} s ago by this server's clock"
        assert late in str(error.value)


@pytest.mark.parametrize("token", [None, ""])
def test_missing(tokens: Tokens, token: str | None) -> None:
    with pytest.raises(TokenError) as error:
        tokens.verify(token)
    assert error.value.code == "missing-token"


CLAIMS = {"iss": "streamstraight-celery", "aud": "streamstraight-celery", "sub": "s",
          "scope": "read", "exp": 1_000_060}  # fmt: skip


@pytest.mark.parametrize(
    "token",
    [
        "x", "a.b.c", "\0", "é", "\ud800",
        jwt.encode(CLAIMS, _key(OTHER), algorithm="HS256"),
        jwt.encode(CLAIMS, "", algorithm="none"),
        jwt.encode(CLAIMS, _key(SECRET) * 2, algorithm="HS512"),
        jwt.encode({**CLAIMS, "aud": "other"}, _key(SECRET), algorithm="HS256"),
        jwt.encode({**CLAIMS, "iss": "other"}, _key(SECRET), algorithm="HS256"),
        jwt.encode({k: v for k, v in CLAIMS.items() if k != "exp"}, _key(SECRET)),
        jwt.encode({k: v for k, v in CLAIMS.items() if k != "sub"}, _key(SECRET)),
    ],
)  # fmt: skip
def test_invalid(tokens: Tokens, token: str) -> None:
    with pytest.raises(TokenError) as error:
        tokens.verify(token)
    assert error.value.code == "invalid-token"


def test_scopes_beyond_ours_mean_nothing(tokens: Tokens) -> None:
    token = jwt.encode({**CLAIMS, "scope": "read admin"}, _key(SECRET), algorithm="HS256")
    assert tokens.verify(token).scopes == {"read"}


def test_two_secrets_rotate(clock: Clock) -> None:
    old, new = Tokens([SECRET], now=clock), Tokens([OTHER, SECRET], now=clock)
    assert new.verify(old.issue("s")[0]).stream_id == "s"
    assert Tokens([OTHER], now=clock).verify(new.issue("s")[0]).stream_id == "s"
    with pytest.raises(TokenError):
        old.verify(new.issue("s")[0])


def test_an_unknown_scope_is_refused(tokens: Tokens) -> None:
    with pytest.raises(ConfigurationError, match="'admin'"):
        tokens.issue("s", scopes=["admin"])


def test_scopes_that_are_no_list_are_refused(tokens: Tokens) -> None:
    with pytest.raises(ConfigurationError, match=r"must be a list: scopes=\['read'\]"):
        tokens.issue("s", scopes="read")


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="too short"):
        Tokens(["short"])


def test_no_secret_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="stream_secret"):
        Tokens([])
