"""Many streams in one response: each as it would be alone."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from streamstraight_celery.server.reads.multiplex import Multiplexer
from tests.support.waiting import eventually_async as eventually

from . import serving
from .client import Answer, Stream, read_body, read_head
from .conftest import MakeSite, Site
from .producer import Producer


class Shared:
    """One such response, taken apart: the events of each stream."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._seen = 0
        self._number = -1
        self.events: dict[int, list[Any]] = {}

    def _sort(self) -> None:
        for event in self.stream.events[self._seen :]:
            if event.name == "stream":
                self._number = event.data
            else:
                self.events.setdefault(self._number, []).append(event)
        self._seen = len(self.stream.events)

    async def until(self, number: int, name: str) -> Any:
        """Read until that stream's last event has this name; its data."""
        while not (events := self.of(number)) or events[-1].name != name:
            assert await self.stream.more(), f"ended without {name} of {number}"
        return events[-1].data

    async def until_chunks(self, number: int, count: int) -> list[Any]:
        while len(self.chunks(number)) < count:
            assert await self.stream.more(), "ended too early"
        return self.chunks(number)

    async def until_end(self) -> Shared:
        await self.stream.until_end()
        self._sort()
        return self

    def of(self, number: int) -> list[Any]:
        self._sort()
        return self.events.get(number, [])

    def chunks(self, number: int) -> list[Any]:
        return [chunk for each in self.of(number) if each.name == "data" for chunk in each.data]

    def control(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = [e.data for e in self.of(number) if e.name == "control"][-1]
        return found


async def post(
    site: Site, body: bytes, raw: socket.socket | None = None, **headers: str
) -> tuple[int, dict[str, str], Any]:
    if raw is None:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    else:
        reader, writer = await asyncio.open_connection(sock=raw, limit=2**12)
    lines = ["POST /v1/streams HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
    status, given = await asyncio.wait_for(read_head(reader), 10)
    return status, given, (reader, writer)


async def ask(
    site: Site, *streams: dict[str, Any], raw: socket.socket | None = None, **headers: str
) -> Shared:
    status, given, (reader, writer) = await post(
        site, json.dumps({"streams": streams}).encode(), raw, **headers
    )
    assert status == 200
    assert given["content-type"] == "text/event-stream"
    stream = Stream(status, given, reader, writer)
    site.client("")._streams.append(stream)
    return Shared(stream)


def entry(site: Site, producer: Producer, **more: Any) -> dict[str, Any]:
    return {"id": producer.stream_id, "token": site.tokens.issue(producer.stream_id)[0], **more}


async def test_each_stream_is_as_if_it_were_alone(site: Site) -> None:
    producers = [site.producer() for _ in range(20)]
    shared = await ask(site, *(entry(site, each) for each in producers))
    for round_ in range(3):
        for number, producer in enumerate(producers):
            producer.append({"stream": number, "round": round_})
    producers[7].append(end="producer-error", error='{"code":"c","message":"m"}')
    for producer in producers[:7] + producers[8:]:
        producer.end()

    await shared.until_end()
    assert shared.stream.complete
    for number, producer in enumerate(producers):
        assert shared.chunks(number) == producer.values()
        assert shared.of(number)[-1].name == "closed"
        assert shared.control(number)["streamClosed"] is True
    assert shared.control(7)["error"] == {"code": "c", "message": "m"}
    assert shared.control(8)["endReason"] == "completed"


async def test_it_resumes_each_at_its_offset(site: Site) -> None:
    first, second = site.producer(), site.producer()
    first.append(1)
    first.append(2)
    second.append("a")
    second.append("b")
    shared = await ask(
        site, entry(site, first, offset=first.offset(1)), entry(site, second, offset="now")
    )
    assert await shared.until_chunks(0, 1) == [2]
    await shared.until(1, "control")
    second.append("c")
    assert await shared.until_chunks(1, 1) == ["c"]


async def test_a_refusal_concerns_one_stream_only(site: Site) -> None:
    good, superseded, ended = site.producer(), site.producer(), site.producer()
    good.append(1)
    superseded.append("old")
    old = superseded.offset(1)
    superseded.relay.call(_release(superseded))
    superseded.claim()
    ended.end()
    shared = await ask(
        site,
        {"id": good.stream_id, "token": "no"},
        {"id": good.stream_id},
        {"id": "another", "token": site.tokens.issue(good.stream_id)[0]},
        {"id": "no/name", "token": site.tokens.issue(good.stream_id)[0]},
        {"id": "absent", "token": site.tokens.issue("absent")[0]},
        entry(site, superseded, offset=old),
        entry(site, good, offset="nonsense"),
        entry(site, good),
    )
    for number, status in enumerate((401, 401, 404, 404, 404, 410, 400)):
        await shared.until(number, "closed")
        refused = shared.of(number)[-2]
        assert (refused.name, refused.data["status"]) == ("refused", status), number
    assert json.loads(shared.of(5)[0].data["body"])["attempt"] == 2
    assert await shared.until_chunks(7, 1) == [1]


def _release(producer: Producer) -> Any:
    from streamstraight_celery.relays.requests import Release

    return Release(producer.stream_id, producer.attempt, producer.nonce, 0)


async def test_the_last_event_of_the_response_is_no_position_in_its_streams(
    redis_site: Site,
) -> None:
    producers = [redis_site.producer() for _ in range(2)]
    for producer in producers:
        producer.append("a", "b", end="completed")
    streams = [entry(redis_site, producer) for producer in producers]
    last = str(producers[0].offset(2))
    shared = await (
        await ask(redis_site, *streams, raw=None, **{"Last-Event-ID": last})
    ).until_end()
    assert [shared.chunks(number) for number in range(2)] == [["a", "b"], ["a", "b"]]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"streams": []}', 400),
        (b'{"streams": [1]}', 400),
        (b'{"streams": [{"id": 1}]}', 400),
        (b'{"streams": [%b]}' % b",".join([b"{}"] * 101), 400),
        (b'{"streams": [{"id": "\\ud800"}]}', 400),
        (b'{"streams": [{"token": "\\ud800"}]}', 400),
        (b'{"streams": [{"offset": "\\ud800"}]}', 400),
        (b" " * (512 * 1024 + 1), 413),
    ],
    ids=["empty", "list", "none", "number", "id", "many", "id text", "token", "offset", "large"],
)
async def test_a_malformed_body_is_refused(redis_site: Site, body: bytes, status: int) -> None:
    got, headers, (reader, writer) = await post(redis_site, body)
    answer = Answer(got, headers, await read_body_of(reader, headers))
    writer.close()
    assert (got, answer.json["error"]["code"]) == (
        status, "too-large" if status == 413 else "bad-request",
    )  # fmt: skip


async def read_body_of(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    assert "content-length" in headers
    return await reader.readexactly(int(headers["content-length"])) or await read_body(reader, {})


async def test_a_page_of_an_allowed_origin_may_read(make_site: MakeSite, redis_url: str) -> None:
    site = await make_site(redis_url, allowed_origins=("https://app.example",))
    producer = site.producer().append(1)
    assert producer.kind == "ok"
    stream = site.producer()
    for origin, allowed in (("https://app.example", True), ("https://evil.example", False)):
        shared = await ask(site, entry(site, stream), Origin=origin)
        given = shared.stream.headers.get("access-control-allow-origin")
        assert given == (origin if allowed else None)


async def test_a_token_that_expires_closes_its_own_stream(
    make_site: MakeSite, redis_url: str
) -> None:
    site = await make_site(redis_url)
    short, long = site.producer(), site.producer()
    token = site.tokens.issue(short.stream_id, ttl=4)[0]
    shared = await ask(site, {"id": short.stream_id, "token": token}, entry(site, long))
    await shared.until(0, "closed")
    long.append("still there")
    assert await shared.until_chunks(1, 1) == ["still there"]


async def test_a_client_that_leaves_is_forgotten(site: Site) -> None:
    producers = [site.producer() for _ in range(3)]
    shared = await ask(site, *(entry(site, each) for each in producers))
    for number in range(3):
        await shared.until(number, "control")
    hub = site.app.start().hub
    assert sum(len(feed.readers) for feed in hub.feeds.values()) == 3
    await shared.stream.close()
    await eventually(lambda: not any(feed.readers for feed in hub.feeds.values()))


async def test_a_client_that_takes_nothing_is_cut_off(make_site: MakeSite, redis_url: str) -> None:
    site = await make_site(redis_url, send_timeout=0.3)
    producers = [site.producer() for _ in range(2)]
    shared = await ask(site, *(entry(site, each) for each in producers))
    await shared.until(0, "control")
    hub = site.app.start().hub
    for _ in range(20):
        producers[0].append("x" * 1_000_000)
    await eventually(lambda: not any(feed.readers for feed in hub.feeds.values()))


async def narrow_socket(site: Site) -> socket.socket:
    """A connection whose client's system takes little."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", site.port))
    return raw


@pytest.mark.parametrize("wired", [True, False], ids=["wired", "asgi"])
async def test_a_client_that_never_takes_the_last_bytes_is_cut_off(
    make_site: MakeSite, redis_url: str, wired: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "listen", serving.listen_narrow)
    site = await make_site(redis_url, wired=wired, send_timeout=0.1)
    serve, open_now = Multiplexer.serve, 0

    async def counted(*arguments: Any) -> None:
        nonlocal open_now
        open_now += 1
        try:
            await serve(*arguments)
        finally:
            open_now -= 1

    monkeypatch.setattr(Multiplexer, "serve", counted)
    # Of one of these sizes only what stands behind the stream's own frames does not fit any more.
    for size in range(1, 8):
        producer = site.producer()
        for _ in range(size):
            producer.append("x" * 32000)
        producer.end()
        await ask(site, entry(site, producer), raw=await narrow_socket(site))
    await eventually(lambda: not open_now)


async def test_a_client_that_takes_it_slowly_is_not_cut_off(
    make_site: MakeSite, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "listen", serving.listen_narrow)
    site = await make_site(redis_url, send_timeout=0.75)
    producers = [site.producer() for _ in range(20)]
    for producer in producers:
        for _ in range(4):
            producer.append("x" * 60_000)
        producer.end()
    raw = await narrow_socket(site)
    shared = await ask(site, *(entry(site, each) for each in producers), raw=raw)
    goes_on = True
    while goes_on:
        goes_on = await shared.stream.more()
        await asyncio.sleep(0.05)  # all streams together take longer than one may
    assert shared.stream.complete
    assert [shared.chunks(number) for number in range(20)] == [each.values() for each in producers]


async def test_a_relay_that_goes_down_ends_the_response_cleanly(site: Site) -> None:
    shared = await ask(site, entry(site, site.producer()), entry(site, site.producer()))
    await shared.until(1, "control")
    await site.app.drain()
    await shared.until_end()
    assert shared.stream.complete
    assert [shared.of(number)[-1].name for number in (0, 1)] == ["closed", "closed"]
