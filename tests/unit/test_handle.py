"""What a client is given for a stream that nobody has created yet."""

from __future__ import annotations

import time
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery import StreamNotFoundError, get_stream, stream_ref
from streamstraight_celery.errors import ConfigurationError
from streamstraight_celery.tokens import Tokens

SECRET = "the secret of the handle tests"


def app(**changes: Any) -> Celery:
    made = Celery(set_as_current=False)
    made.conf.update(
        # Nothing listens there: a reference is made without the relay.
        stream_relay_url="redis://127.0.0.1:1/0",
        stream_public_url="https://relay.example",
        stream_secret=SECRET,
    )
    made.conf.update(changes)
    return made


def test_a_reference_to_a_stream_that_is_not_there_yet() -> None:
    ref = stream_ref("job:7", app=app())
    assert ref["url"] == "https://relay.example/v1/stream/job%3A7"
    grant = Tokens([SECRET]).verify(ref["token"])
    assert (grant.stream_id, grant.scopes) == ("job:7", {"read", "stop"})
    assert grant.expires_at == ref["expires_at"]


def test_for_the_job_that_writes_it() -> None:
    ref = stream_ref("job-7", scopes=["write"], ttl=60, app=app())
    assert Tokens([SECRET]).verify(ref["token"]).scopes == {"write"}
    assert 0 < ref["expires_at"] - time.time() <= 60


def test_the_current_app_is_the_default() -> None:
    made = app()
    before = Celery(set_as_current=False)
    made.set_current()
    try:
        assert stream_ref("job-7")["url"] == "https://relay.example/v1/stream/job-7"
    finally:
        before.set_current()


@pytest.mark.parametrize(
    ("stream_id", "options", "message"),
    [
        ("a/b", {}, "stream id 'a/b'"),
        ("", {}, "stream id ''"),
        (42, {}, "stream id 42: .* in a str"),
        ("job", {"scopes": ["admin"]}, "unknown token scope"),
    ],
)
def test_what_cannot_be(stream_id: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        stream_ref(stream_id, app=app(), **options)


@pytest.mark.parametrize("stream_id", ["", "a}b", "a/b", "half \ud83d"])
def test_what_cannot_be_is_not_there(stream_id: str) -> None:
    with pytest.raises(StreamNotFoundError, match="stream id"):
        get_stream(stream_id, app=app())


def test_a_secret_is_needed() -> None:
    without = app()
    without.conf.stream_secret = None
    del without.conf["stream_secret"]
    with pytest.raises(ConfigurationError, match="stream_secret"):
        stream_ref("job", app=without)
