"""No request makes the relay fail: random ones, straight into the application."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamstraight_celery.relays import open_relay
from streamstraight_celery.server import RelayApp, create_app
from streamstraight_celery.settings import StreamSettings
from streamstraight_celery.tokens import Tokens

from .conftest import SECRET
from .producer import Producer

TOKEN = Tokens([SECRET]).issue("known")[0]
OFFSETS = ["-1", "now", "000001_0000000001_aaaaaaaa", "000001_0000000009_aaaaaaaa", "x", ""]

queries = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.tuples(
            st.sampled_from(["offset", "live", "cursor", "token", "x"]),
            st.one_of(st.sampled_from([*OFFSETS, "sse", "long-poll", TOKEN]), st.text(max_size=9)),
        ),
        max_size=4,
    ).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)),
)
headers = st.lists(
    st.tuples(
        st.sampled_from(
            ["authorization", "cookie", "origin", "last-event-id", "if-none-match", "host"]
        ),
        st.one_of(
            st.sampled_from([f"Bearer {TOKEN}", f"streamstraight_token={TOKEN}", *OFFSETS]),
            st.text(max_size=30),
        ),
    ),
    max_size=4,
)
paths = st.one_of(
    st.sampled_from(["/", "/healthz", "/readyz", "/client.js", "/v1/stop/known"]),
    st.sampled_from(["known", "unknown"]).map(lambda name: f"/v1/stream/{name}"),
    st.text(max_size=30).map(lambda rest: f"/v1/stream/{rest}"),
    st.text(max_size=30),
)
methods = st.sampled_from(["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "X"])


class Site:
    """An application over memory, with one short stream that has ended."""

    def __init__(self) -> None:
        given_settings = StreamSettings(
            relay_url="memory://fuzz", secret=(SECRET,), long_poll_timeout=0.01
        )
        self.loop = asyncio.new_event_loop()
        self._relay = open_relay(given_settings)
        self.app: RelayApp = create_app(given_settings)
        Producer(self._relay, "known").claim(nonce="aaaaaaaa").append(1, end="completed")

    def ask(self, scope: dict[str, Any]) -> list[dict[str, Any]]:
        """The messages that the application sends."""
        sent: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            await asyncio.Event().wait()

        self.loop.run_until_complete(asyncio.wait_for(self.app(scope, receive, send), 5))
        return sent

    def close(self) -> None:
        self.loop.run_until_complete(self.app.close())
        self.loop.close()


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(method=methods, path=paths, query=queries, given_headers=headers)
def test_every_request_gets_a_proper_answer(
    fuzzed: Site, method: str, path: str, query: str, given_headers: list[tuple[str, str]]
) -> None:
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode("utf-8", "replace"),
        "headers": [
            (name.encode(), value.encode("utf-8", "replace")) for name, value in given_headers
        ],
        "scheme": "http",
    }
    start, *bodies = fuzzed.ask(scope)
    assert start["status"] in {200, 202, 204, 304, 400, 401, 404, 405, 410}
    assert all(isinstance(each, bytes) for pair in start["headers"] for each in pair)
    assert not any(b"\n" in value or b"\r" in value for _, value in start["headers"])
    assert bodies
    assert not bodies[-1].get("more_body")
    if method == "HEAD" or start["status"] in (204, 304):
        assert not any(each["body"] for each in bodies)
