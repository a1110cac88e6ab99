"""A stream on a WebSocket of the application's own: Starlette's and Channels'."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.conftest import eventually
from tests.integrations.conftest import Server
from tests.integrations.sites.sources import STEPS

SERVERS = {
    "starlette": ("fastapi-uvicorn", "begin"),
    "channels": ("channels-uvicorn", "begin-async"),
}


class Site:
    """A site with WebSockets."""

    def __init__(self, server: Server, begin: str) -> None:
        self.server = server
        self._begin = begin

    def begin(self, then: str = "finish") -> str:
        """Begin a stream, and leave its answer."""
        url = f"{self.server.url}/{self._begin}/{then}"
        with httpx.stream("POST", url, timeout=60) as response:
            return str(response.headers["x-stream-id"])

    def connect(self, stream_id: str, way: str = "plain", query: str = "") -> ClientConnection:
        url = self.server.url.replace("http", "ws", 1)
        return connect(f"{url}/socket/{way}/{stream_id}{query}", open_timeout=60)

    def readers(self) -> int:
        return int(httpx.get(f"{self.server.url}/watched", timeout=60).json()["readers"])


@pytest.fixture(params=SERVERS)
def site(request: pytest.FixtureRequest, serve: Callable[[str], Server]) -> Site:
    name, begin = SERVERS[request.param]
    return Site(serve(name), begin)


def rest_of(socket: ClientConnection) -> tuple[list[Any], int]:
    """The messages up to the end, and the close code."""
    messages = []
    try:
        while True:
            messages.append(json.loads(socket.recv(60)))
    except ConnectionClosed as closed:
        return messages, closed.rcvd.code if closed.rcvd is not None else 0


def test_a_stream_is_one_message_a_chunk_and_one_for_its_end(site: Site) -> None:
    stream_id = site.begin()
    with site.connect(stream_id) as live, site.connect(stream_id, "boxed") as boxed:
        first = json.loads(live.recv(60))  # live: the generator waits
        assert (first["type"], first["data"]) == ("chunk", STEPS[0])
        with site.connect(stream_id) as leaving:
            assert json.loads(leaving.recv(60)) == first
            eventually(lambda: site.readers() == 3)
        eventually(lambda: site.readers() == 2)
        site.server.open_gate()
        messages, code = rest_of(live)
        assert [message["data"] for message in messages[:-1]] == STEPS[1:]
        assert messages[-1] == {"type": "end", "id": messages[-2]["id"], "reason": "completed"}
        assert code == 1000
        shown, code = rest_of(boxed)
        assert [message.get("data") for message in shown] == [0, 2, 4, None]
    with site.connect(stream_id, query=f"?offset={messages[1]['id']}") as resumed:
        assert rest_of(resumed)[0] == messages[2:]


def test_the_last_message_and_the_close_code_tell_how_it_ended(site: Site) -> None:
    site.server.open_gate()
    with site.connect(site.begin("fail")) as failed:
        messages, code = rest_of(failed)
        assert [message["type"] for message in messages] == ["chunk"] * 4 + ["failed"]
        assert messages[-1]["error"] == {"code": "as-told", "message": "out of words"}
        assert code == 1011
    with site.connect(site.begin("wait")) as stopped:
        stopped.recv(60)
        stopped.send("stop")
        messages, code = rest_of(stopped)
        assert (messages[-1]["type"], messages[-1]["reason"], code) == ("end", "stopped", 1000)
    with site.connect("no-such-stream") as missing:
        messages, code = rest_of(missing)
        assert (messages[0]["error"]["code"], code) == ("not-found", 4404)
    assert "ASGI application" not in site.server.log_file.read_text()
