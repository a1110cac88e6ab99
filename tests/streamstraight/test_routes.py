"""What web routes get with a relay of `streamstraight://`: nothing that is not known there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery import StreamHandle, StreamTask, active_stream, stream_ref
from streamstraight_celery.enqueue.conversations import resume_url
from streamstraight_celery.errors import ConfigurationError
from streamstraight_celery.runtime import Runtime
from tests.streamstraight.servers import KEY, Bare


def make_app(port: int = 1) -> Celery:
    app = Celery(set_as_current=False, broker="memory://")
    app.conf.update(
        stream_relay_url=f"streamstraight+http://127.0.0.1:{port}",
        stream_api_key=KEY,
        stream_public_url="https://relay.example",
        stream_secret="the secret of this app alone",
    )
    return app


def handle_of(app: Celery) -> StreamHandle:
    return StreamHandle(app, Runtime.of(app), "s", app.AsyncResult("s"))


@pytest.mark.parametrize(
    ("name", "get"),
    [
        ("url", lambda handle: handle.url),
        ("sse_base_url", lambda handle: handle.sse_base_url),
        ("sse_url()", lambda handle: handle.sse_url()),
    ],
)
def test_no_url_of_this_app_is_handed_out(name: str, get: Callable[[StreamHandle], Any]) -> None:
    message = re.escape(f"{name}: ") + r".* streamstraight.* handle\.ref\(\)"
    with pytest.raises(ConfigurationError, match=message):
        get(handle_of(make_app()))


def test_no_token_of_this_app_is_handed_out() -> None:
    with pytest.raises(ConfigurationError, match=r"stream_ref\(\): .* handle\.ref\(\)"):
        stream_ref("s", app=make_app())


def test_tokens_are_the_services_own(bare: Callable[..., Bare]) -> None:
    server = bare()
    handle = handle_of(make_app(server.port))
    assert handle.token() == "a client's token"
    ref = {"stream_id": "s", "url": server.url, "token": "a client's token", "expires_at": 0}
    assert handle.ref() == ref


def test_conversations_need_redis() -> None:
    app = make_app()

    @app.task(base=StreamTask)
    def answer() -> Any:
        yield 1

    for ask in (
        lambda: active_stream("chat", app=app),
        lambda: resume_url("chat", app=app),
        lambda: answer.apply_stream(key="chat"),
        lambda: answer.conversation("chat", if_active="join").stream(),
    ):
        with pytest.raises(ConfigurationError, match="need a stream store on Redis"):
            ask()
