"""No request makes the relay fail: random ones, straight into the application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamstraight_celery.relays import open_relay
from streamstraight_celery.server import RelayApp, create_app
from streamstraight_celery.server.live.hub import HubOptions
from streamstraight_celery.settings import StreamSettings
from streamstraight_celery.tokens import Tokens

from .conftest import SECRET
from .producer import Producer

TOKEN = Tokens([SECRET]).issue("known")[0]
OFFSETS = ["-1", "now", "000001_0000000001_aaaaaaaa", "000001_0000000009_aaaaaaaa", "x", ""]
MARKS = ["000001_0000000001_aaaaaaaa.completed", "000001_0000000001_aaaaaaaa.", "-1.x"]

queries = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.tuples(
            st.sampled_from(["offset", "live", "cursor", "token", "x"]),
            st.one_of(
                st.sampled_from([*OFFSETS, *MARKS, "sse", "long-poll", TOKEN]), st.text(max_size=9)
            ),
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
            st.sampled_from([f"Bearer {TOKEN}", f"streamstraight_token={TOKEN}", *OFFSETS, *MARKS]),
            st.text(max_size=30),
        ),
    ),
    max_size=4,
)
paths = st.one_of(
    st.sampled_from(["/", "/healthz", "/readyz", "/client.js", "/v1/stop/known"]),
    st.sampled_from(["known", "unknown"]).map(lambda name: f"/v1/stream/{name}"),
    st.sampled_from(["", "/responses", "/chat/completions"]).map(
        lambda rest: f"/v1/sse/known{rest}"
    ),
    st.text(max_size=30).map(lambda rest: f"/v1/stream/{rest}"),
    st.text(max_size=30).map(lambda rest: f"/v1/sse/{rest}"),
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
        self.app: RelayApp = create_app(given_settings, hub_options=HubOptions(settle=0))
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


KEY = "the API key of the fuzz tests"
VALUES = [
    "application/json", "text/plain", "application/octet-stream", "true", "false", "0", "1", "2",
    str(2**53 - 1), str(2**53), "-1", "now", "p", "completed", "producer-error", "60",
    "2030-01-31T12:00:00Z", "2001-01-01T00:00:00Z", "/v1/stream/known", "/v1/stream/a",
    "000001_0000000001_aaaaaaaa", "000009_9999999999_ffffffff", "999999_9999999999_00000000",
]  # fmt: skip
writing_headers = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "content-type", "stream-ttl", "stream-expires-at", "stream-closed", "stream-seq",
                "stream-end-reason", "producer-id", "producer-epoch", "producer-seq",
                "stream-forked-from", "stream-fork-offset", "stream-fork-sub-offset",
                "if-none-match", "last-event-id", "origin", "cookie", "content-length",
                "transfer-encoding", "host",
            ]
        ),
        st.sampled_from(VALUES).map(str.encode) | st.binary(max_size=12),
    ),
    max_size=4,
)  # fmt: skip
bodies = st.just([b"[1]"]) | st.lists(
    st.sampled_from([b"[1]", b"1", b"[]", b"{", b'"\\ud800"', b"\xff", b"[" * 2000, b"x" * 1200])
    | st.binary(max_size=20),
    max_size=3,
)
writing_methods = st.sampled_from(["PUT", "POST", "POST", "POST", "GET", "DELETE"]) | methods
names = st.sampled_from(["known", "a", "a", "b", "worker"]).map(lambda name: f"/v1/stream/{name}")
others = st.sampled_from(["/v1/stop/a", "/v1/stop/worker", "/v1/sse/a", "/v1/token", "/metrics"])
# By weight: most requests should get as far as the relay.
writing_paths = st.integers(0, 9).flatmap(lambda which: (others | paths) if which == 0 else names)
writing_queries = st.sampled_from(
    ["", "", "live=sse&offset=-1", "live=long-poll&offset=now", "offset=000001_0000000001_aaaaaaaa"]
)


class WritingSite(Site):
    """One that lets others write, small enough to be filled."""

    def __init__(self, relay_url: str) -> None:
        given_settings = StreamSettings(
            relay_url=relay_url, secret=(SECRET,), long_poll_timeout=0.01, writing=True,
            api_keys=(KEY,), max_chunk_bytes=1000, max_bytes=20_000, allowed_origins=("p",),
        )  # fmt: skip
        self.loop = asyncio.new_event_loop()
        self._relay = open_relay(given_settings)
        self.app = create_app(
            replace(given_settings, max_age=0.01), hub_options=HubOptions(settle=0)
        )
        Producer(self._relay, "known").claim(nonce="aaaaaaaa").append(1, end="completed")
        Producer(self._relay, "worker").claim(nonce="bbbbbbbb").append(1)

    def send(self, scope: dict[str, Any], parts: list[bytes], whole: bool) -> list[dict[str, Any]]:
        """The messages that the application sends; a body that is not whole breaks off."""
        sent: list[dict[str, Any]] = []
        messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": part, "more_body": True} for part in parts
        ]
        if whole:
            messages.append({"type": "http.request"})
        messages.append({"type": "http.disconnect"})

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return messages.pop(0) if len(messages) > 1 else messages[0]

        self.loop.run_until_complete(asyncio.wait_for(self.app(scope, receive, send), 10))
        return sent

    def close(self) -> None:
        super().close()
        self._relay.close()


@pytest.fixture(scope="module", params=["memory", "redis"])
def written(request: pytest.FixtureRequest) -> Iterator[WritingSite]:
    url = "memory://fuzzed-writing"
    if request.param == "redis":
        url = request.getfixturevalue("redis_server").new_database()
    site = WritingSite(url)
    yield site
    site.close()


@settings(max_examples=300, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    method=writing_methods, path=writing_paths, query=writing_queries,
    given_headers=writing_headers, allowed=st.sampled_from([*[KEY] * 9, TOKEN, "x"]),
    parts=bodies, whole=st.integers(0, 7).map(bool),
)  # fmt: skip
def test_every_write_gets_a_proper_answer(
    written: WritingSite, caplog: pytest.LogCaptureFixture, method: str, path: str, query: str,
    given_headers: list[tuple[str, bytes]], allowed: str, parts: list[bytes], whole: bool,
) -> None:  # fmt: skip
    authorization = (b"authorization", b"Bearer " + allowed.encode())
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [
            authorization,
            (b"content-type", b"application/json"),
            *((name.encode(), value) for name, value in given_headers),
        ],
        "scheme": "http",
    }
    with caplog.at_level(logging.WARNING):
        start, *rest = written.send(scope, parts, whole)
    assert start["status"] < 500, rest
    assert not [record.getMessage() for record in caplog.records if record.exc_info]
    assert not any(b"\n" in value or b"\r" in value for _, value in start["headers"])
    assert not any(b"Traceback" in each.get("body", b"") for each in rest)
