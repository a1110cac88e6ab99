"""`respond`: an application's own route answers with a stream, on real servers."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from celery import Celery
from redis import Redis

from streamstraight_celery import StreamFailedError, get_stream, read_stream
from tests.conftest import ROOT, eventually, missing
from tests.integrations.conftest import Server
from tests.integrations.sites.sources import STEPS
from tests.server.plain import parse_plain_text

Serve = Callable[[str], Server]

# The server, what begins a stream, and what answers with one that there is.
SERVERS = {
    "flask": ("flask-gunicorn-threads", "begin", "own"),
    "flask-gevent": ("flask-gunicorn-gevent", "begin", "own"),
    "django-wsgi": ("django-gunicorn", "begin", "own"),
    "django-wsgi-async-view": ("django-gunicorn", "begin", "own-async"),
    "django-runserver": ("django-runserver", "begin", "own"),
    "django-asgi": ("django-uvicorn", "begin-async", "own-async"),
    "django-asgi-sync-view": ("django-uvicorn", "begin", "own"),
    "fastapi": ("fastapi-uvicorn", "begin", "own"),
}
QUICK = {"flask", "django-asgi", "fastapi"}
# Their responses end with the connection, so nothing can be cut off within.
WITHOUT_CHUNKS = {"django-runserver"}


class Site:
    """A site with routes of its own."""

    def __init__(self, server: Server, begin: str, own: str) -> None:
        self.server = server
        self._begin = begin
        self._own = own
        self.client = httpx.Client(base_url=server.url, timeout=60)

    @contextmanager
    def begun(self, then: str = "finish") -> Iterator[tuple[str, Reading]]:
        """The answer of a POST, read as it comes."""
        with self.client.stream("POST", f"/{self._begin}/{then}") as response:
            assert response.status_code == 200, response.read()
            yield response.headers["x-stream-id"], Reading(response)

    def path(self, stream_id: str, way: str = "plain") -> str:
        return f"/{self._own}/{way}/{stream_id}"

    def get(self, stream_id: str, way: str = "plain", **options: Any) -> httpx.Response:
        return self.client.get(self.path(stream_id, way), **options)

    def readers(self) -> int:
        return int(self.client.get("/watched").json()["readers"])


class Reading:
    """A response that is read piece by piece."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._pieces = response.iter_raw()
        self.body = b""
        self.cut = False

    def until(self, count: int) -> None:
        """Read so many events."""
        while len(self.events) < count:
            self.body += next(self._pieces)

    def rest(self) -> None:
        try:
            for piece in self._pieces:
                self.body += piece
        except httpx.RemoteProtocolError:
            self.cut = True

    @property
    def events(self) -> list[Any]:
        whole, _, _ = self.body.rpartition(b"\n\n")
        return parse_plain_text(whole + b"\n\n" if whole else b"").events

    @property
    def values(self) -> list[Any]:
        return [json.loads(event.data) for event in self.events if event.name == "message"]


@pytest.fixture(
    params=[
        pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in SERVERS
    ]
)
def site(request: pytest.FixtureRequest, serve: Serve) -> Iterator[Site]:
    name, begin, own = SERVERS[request.param]
    found = Site(serve(name), begin, own)
    with found.client:
        yield found


@pytest.fixture
def cuts(request: pytest.FixtureRequest) -> bool:
    return request.node.callspec.params["site"] not in WITHOUT_CHUNKS


def test_a_post_answers_with_the_stream_it_has_begun(site: Site) -> None:
    with site.begun() as (stream_id, reading):
        reading.until(1)  # live: the generator waits
        assert reading.values == STEPS[:1]
        site.server.open_gate()
        reading.rest()
        assert not reading.cut
        assert reading.values == STEPS
        assert [event.name for event in reading.events[5:]] == ["end"]
        headers = reading.response.headers
        assert headers["content-type"] == "text/event-stream"
        assert "no-store" in headers["cache-control"]
        assert "access-control-allow-origin" not in headers
    # The whole again, from elsewhere; and after its last event nothing.
    again = site.get(stream_id, headers={"Origin": "https://elsewhere.example"})
    assert parse_plain_text(again.content).events == reading.events
    assert "access-control-allow-origin" not in again.headers
    for where in ({"headers": {"Last-Event-ID": reading.events[1].id}},
                  {"params": {"offset": reading.events[1].id}}):  # fmt: skip
        assert [e.id for e in parse_plain_text(site.get(stream_id, **where).content).events] == [
            event.id for event in reading.events[2:]
        ]
    last = site.get(stream_id, headers={"Last-Event-ID": reading.events[-1].id})
    assert (last.status_code, last.content) == (204, b"")
    assert "Traceback" not in site.server.log_file.read_text()


def test_names_envelopes_headers_and_what_is_not_there(site: Site) -> None:
    site.server.open_gate()
    with site.begun() as (stream_id, reading):
        reading.rest()
    named = site.get(stream_id, "named")
    assert named.headers["x-own"] == "yes"
    events = parse_plain_text(named.content).events
    assert [event.name for event in events] == ["step"] * 5 + ["end"]
    assert [json.loads(event.data) for event in events[:5]] == STEPS
    boxed = parse_plain_text(site.get(stream_id, "boxed").content)
    assert [json.loads(text) for text in boxed.messages] == [
        {"event": "step", "data": number} for number in (0, 2, 4)
    ]
    # The clients of this package read the same routes; an envelope hides from them what it hides.
    url = f"{site.server.url}{site.path(stream_id)}"
    with read_stream(url, token="the application's own") as stream:
        assert list(stream) == STEPS
    assert in_javascript(url) == [*STEPS, "completed"]
    with read_stream(f"{site.server.url}{site.path(stream_id, 'boxed')}", token="x") as stream:
        assert [chunk["data"] for chunk in stream] == [0, 2, 4]
    poll = site.get(stream_id, "boxed", params={"live": "long-poll", "offset": "-1"})
    assert poll.status_code == 400
    for unknown in ("no-such-stream", "no%20such"):
        assert site.get(unknown).status_code == 404
    assert site.get(stream_id, params={"offset": "5"}).status_code == 400
    assert "Traceback" not in site.server.log_file.read_text()


def in_javascript(url: str) -> list[Any]:
    """What `openStream` of client.js reads, in Node.js: chunks, and the end reason."""
    if (node := shutil.which("node")) is None:
        missing("Node.js")
    client = ROOT / "streamstraight_celery/static/streamstraight_celery/client.js"
    script = ROOT / "tests/peers/read_ours.mjs"
    said = subprocess.run(
        [str(node), str(script), client.as_uri(), url, "the application's own", "alone"],
        capture_output=True, text=True, timeout=240, check=True,
    ).stdout  # fmt: skip
    lines = [json.loads(line) for line in said.splitlines()]
    return [line.get("chunk", line.get("end")) for line in lines if "status" not in line]


def test_an_answer_that_is_not_complete_never_looks_so(
    site: Site, cuts: bool, watching: Celery
) -> None:
    with site.begun("fail") as (stream_id, reading):
        reading.until(1)
        site.server.open_gate()
        reading.rest()
        assert reading.cut == cuts
        assert reading.values == STEPS[:4]
        assert reading.events[4].name == "failed"
        assert json.loads(reading.events[4].data)["error"] == {
            "code": "as-told", "message": "out of words",
        }  # fmt: skip
        assert len(reading.events) == 5
    come_back = site.get(stream_id, headers={"Last-Event-ID": reading.events[4].id})
    assert come_back.status_code == 204
    stream = read_stream(f"{site.server.url}{site.path(stream_id)}", token="x")
    with stream, pytest.raises(StreamFailedError, match="out of words"):
        list(stream)
    # A chunk that calls itself the end is not taken for it.
    with site.begun("wait") as (stream_id, reading):
        reading.until(5)
        with site.client.stream("GET", site.path(stream_id, "named")) as response:
            named = Reading(response)
            named.until(5)
            assert named.events[4].name == "message"
            get_stream(stream_id, app=watching).stop()
            named.rest()
        reading.rest()
        assert not reading.cut
        assert [event.name for event in reading.events].count("end") == 1
        assert reading.events[-1].id.endswith(".stopped")
        assert named.events[-1].id == reading.events[-1].id
    told = site.server.log_file.read_text()
    # The published generator's own error is there, but none of the server's.
    for words in ("without completing", "ASGI application", "rror handling", "ConnectionReset"):
        assert words not in told


def test_readers_share_and_those_who_left_are_noticed(
    site: Site, redis_url: str, watching: Celery
) -> None:
    redis = Redis.from_url(redis_url)
    database = redis.get_connection_kwargs()["db"]

    def connections() -> int:
        return sum(int(each["db"]) == database for each in redis.client_list())

    with site.begun() as (stream_id, reading):
        reading.until(1)
        before = connections()
        with socket.create_connection(("127.0.0.1", site.server.port), timeout=60) as leaving:
            head = f"GET {site.path(stream_id, 'named')} HTTP/1.1\r\nHost: x\r\n\r\n"
            leaving.sendall(head.encode())
            received = b""
            while b"\n\n" not in received.partition(b"\r\n\r\n")[2]:
                received += leaving.recv(4096)
            eventually(lambda: site.readers() == 2)
            assert connections() == before
            while b"\n: " not in received:  # a comment: a ping, or that the lease is late
                received += leaving.recv(4096)
        eventually(lambda: site.readers() == 1)
        site.server.open_gate()
        reading.rest()
        assert reading.values == STEPS
    redis.close()
