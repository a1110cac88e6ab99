"""The published Streamstraight SDK writes to the relay, unchanged but for its base URL."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import socketio
import websockets
from streamstraight_server import StreamstraightServerError, StreamWriter

from streamstraight_celery.relays.requests import Claim, Read, Stop
from streamstraight_celery.settings import StreamSettings
from tests.conftest import RedisServer
from tests.support.waiting import eventually_async as eventually

from .client import Client
from .conftest import MakeSite, Site
from .socketio import KEY, Peer, base_url, consumed, sdk, silence

REASONS = [
    "completed", "producer-error", "producer-disconnected", "inactivity-timeout", "not-found",
    "ignore-ended",
]  # fmt: skip
OURS = "0.2.10+celery.json"


@pytest.fixture
async def site(make_site: MakeSite, redis_url: str) -> Site:
    """A relay that the SDK may use."""
    return await make_site(redis_url, api_keys=(KEY,), lease=0.6, reap_after=0.3)


async def read(site: Site, stream_id: str) -> tuple[list[Any], str]:
    """Every chunk of an ended stream and its end reason, over HTTP."""
    answer = await site.client(stream_id).read(stream_id)
    assert answer.headers["stream-closed"] == "true"
    return answer.json, answer.headers["stream-end-reason"]


async def ended(site: Site, stream_id: str) -> None:
    await eventually(lambda: site.relay.state(stream_id).end)


async def test_an_iterator(site: Site) -> None:
    async def generate() -> AsyncIterator[dict[str, int]]:
        for number in range(50):
            yield {"number": number}

    server = await sdk(site, "iterated")
    await server.stream(generate())

    assert await read(site, "iterated") == ([{"number": n} for n in range(50)], "completed")
    stream = await (await site.client("iterated").sse("iterated")).until_end()
    assert stream.chunks == [{"number": n} for n in range(50)]
    assert stream.control["endReason"] == "completed"


@pytest.mark.parametrize("reason", REASONS)
async def test_a_writer_ends_with_every_reason(site: Site, reason: Any) -> None:
    server = await sdk(site, "written")
    writer: StreamWriter[Any] = server.stream_writer()
    async with writer:
        await writer.send("one")
        await writer.send({"two": 2})
        await writer.close(reason=reason)

    assert await read(site, "written") == (["one", {"two": 2}], reason)
    assert (await consumed(site, "written"))[1]["reason"] == reason


async def test_a_stream_without_chunks(site: Site) -> None:
    server = await sdk(site, "empty")
    await server.stream([])
    assert await read(site, "empty") == ([], "completed")


async def test_a_failing_iterator_ends_as_an_error(site: Site) -> None:
    def failing() -> Any:
        yield 1
        raise ValueError("it broke")

    server = await sdk(site, "failing")
    with pytest.raises(StreamstraightServerError, match="it broke"):
        await server.stream(failing())
    assert await read(site, "failing") == ([1], "producer-error")


async def test_chunks_keep_their_order(site: Site) -> None:
    server = await sdk(site, "ordered")
    await server.stream(list(range(2000)))
    assert await read(site, "ordered") == (list(range(2000)), "completed")


async def test_a_producer_is_held_while_the_log_cannot_be_written(
    make_site: MakeSite, own_redis: RedisServer
) -> None:
    site = await make_site(own_redis.url(), api_keys=(KEY,), buffer_bytes=100_000)
    peer = await Peer().connect(site, "producer", "held", key=KEY)
    endpoint = site.app.start().socketio
    assert endpoint is not None
    (producer,) = endpoint._producers.values()
    os.kill(own_redis.pid, signal.SIGSTOP)
    try:
        for seq in range(200):
            await peer.client.emit("producer:chunk", {"seq": seq, "data": "x" * 50_000})
        await eventually(lambda: producer._pending_bytes > 100_000)
        await asyncio.sleep(0.5)
        assert producer._pending_bytes < 400_000
    finally:
        os.kill(own_redis.pid, signal.SIGCONT)
    end = {"reason": "completed", "lastSeq": 199}
    answer = await peer.client.call("producer:end", end, timeout=30)
    assert answer["success"]
    assert site.relay.state("held").last == 200
    await peer.close()


@pytest.mark.parametrize("size", [100_000, 1_000_000])
async def test_large_chunks(site: Site, size: int) -> None:
    chunks = [f"{number}" + "x\n" * (size // 2) for number in range(3)]
    server = await sdk(site, "large")
    await server.stream(chunks)
    assert await read(site, "large") == (chunks, "completed")
    assert (await consumed(site, "large"))[0] == [json.dumps(chunk) for chunk in chunks]


async def test_a_chunk_that_is_too_large(make_site: MakeSite, redis_url: str) -> None:
    site = await make_site(redis_url, api_keys=(KEY,), max_chunk_bytes=1000)
    server = await sdk(site, "huge")
    async with server.stream_writer() as writer:
        await writer.send("fits")
        await writer.send("x" * 1001)
        await ended(site, "huge")
        await eventually(lambda: server._disconnect_error)
        with pytest.raises(StreamstraightServerError, match="1003 bytes is larger than allowed"):
            await writer.send("more")
        writer._closed = True
    assert site.relay.state("huge").end == "too-large"


@pytest.mark.parametrize(
    "strings",
    [
        ["plain", "1", " 2", '{"a":1}', '"quoted"', "two\nlines", "\u2028", "half \ud83d", "NaN"],
        ["1", "2", "text after numbers"],
    ],
)
async def test_any_string_comes_back_as_it_was(site: Site, strings: list[str]) -> None:
    server = await sdk(site, "strings", encoder=str)
    await server.stream(strings)

    data, _ = await consumed(site, "strings")
    assert data == strings
    chunks, _ = await read(site, "strings")
    assert len(chunks) == len(strings)


async def test_refused_with_a_bad_key(site: Site) -> None:
    with pytest.raises(StreamstraightServerError, match="the API key is not valid"):
        await sdk(site, "s", key="another key altogether")
    assert site.relay.read(Read("s")) is None


async def test_refused_when_the_stream_has_ended(site: Site) -> None:
    await (await sdk(site, "once")).stream([1])
    with pytest.raises(StreamstraightServerError, match=r"the stream has ended \(completed\)"):
        await sdk(site, "once")
    assert await read(site, "once") == ([1], "completed")


@pytest.mark.parametrize(
    ("auth", "code"),
    [
        ({"version": "stream-v2"}, "wrong-version"),
        ({"version": None}, "wrong-version"),
        ({"role": "king"}, "bad-request"),
        ({"streamId": "a b"}, "bad-request"),
        ({"nonce": "zz", "attempt": 1}, "bad-request"),
    ],
)
async def test_refused_with_a_wrong_introduction(
    site: Site, auth: dict[str, Any], code: str
) -> None:
    refusals: list[Any] = []
    peer = Peer()
    peer.client.on("connect_error", refusals.append)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await peer.connect(site, **{"role": "producer", "stream_id": "s", "key": KEY, **auth})
    assert refusals[0]["data"]["code"] == code
    await peer.close()


async def test_overwriting_begins_an_ended_stream_anew(site: Site) -> None:
    await (await sdk(site, "again")).stream(["old"])
    stream = await site.client("again").sse("again")
    await stream.until_end()
    await (await sdk(site, "again", overwrite_existing_stream=True)).stream(["new", "text"])

    assert await read(site, "again") == (["new", "text"], "completed")
    old = await site.client("again").read("again", f"offset={stream.offsets[-1]}")
    assert (old.status, old.code) == (410, "superseded")
    assert (await (await site.client("again").sse("again")).until_end()).chunks == ["new", "text"]


async def test_overwriting_takes_a_living_producers_place(site: Site) -> None:
    first = await sdk(site, "taken")
    writer = first.stream_writer()
    await writer.__aenter__()
    await writer.send("old")
    await eventually(lambda: site.relay.state("taken").last == 1)
    await (await sdk(site, "taken", overwrite_existing_stream=True)).stream(["new"])

    await eventually(lambda: first._disconnect_error)
    assert await read(site, "taken") == (["new"], "completed")


async def test_one_that_connects_again_goes_on_behind_what_is_there(site: Site) -> None:
    peer = await Peer().connect(site, "producer", "resumed", key=KEY)
    for seq in range(3):
        await peer.client.emit("producer:chunk", {"seq": seq, "data": str(seq)})
    await eventually(lambda: site.relay.state("resumed").last == 3)
    await silence(peer)

    # The SDK does not come back by itself; an application does, and the SDK numbers from 0 again.
    await eventually(lambda: site.relay.state("resumed").released)
    await (await sdk(site, "resumed")).stream([3, 4])

    assert await read(site, "resumed") == ([0, 1, 2, 3, 4], "completed")


async def test_repeated_chunks_count_once_and_a_gap_is_told(site: Site) -> None:
    peer = await Peer().connect(site, "producer", "numbered", key=KEY)
    for seq in (0, 1, 0, 1, 2):
        await peer.client.emit("producer:chunk", {"seq": seq, "data": str(seq)})
    await eventually(lambda: {"seq": 2} in [{"seq": a["seq"]} for a in peer.named("producer:ack")])
    assert site.relay.state("numbered").last == 3
    await peer.client.emit("producer:chunk", {"seq": 7, "data": "7"})
    assert (await peer.until("stream:error"))["code"] == "gap"
    await peer.close()


@pytest.mark.parametrize(
    "payload", [None, 1, {}, {"seq": -1, "data": "x"}, {"seq": True, "data": "x"}, {"seq": 0}]
)
async def test_malformed_chunks_are_refused(site: Site, payload: Any) -> None:
    peer = await Peer().connect(site, "producer", "odd", key=KEY)
    await peer.client.emit("producer:chunk", payload)
    assert (await peer.until("stream:error"))["code"] == "bad-chunk"
    await peer.close()


async def test_an_end_with_missing_chunks_is_refused(site: Site) -> None:
    peer = await Peer().connect(site, "producer", "short", key=KEY)
    await peer.client.emit("producer:chunk", {"seq": 0, "data": "0"})
    answer = await peer.client.call("producer:end", {"reason": "completed", "lastSeq": 4})
    assert answer == {"success": False, "error": "5 chunks were sent, 1 have come"}
    assert not site.relay.state("short").end
    answer = await peer.client.call("producer:end", {"reason": "because", "lastSeq": 0})
    assert answer["success"] is False
    answer = await peer.client.call("producer:end", {"reason": "completed", "lastSeq": 0})
    assert answer == {"success": True, "endRedisId": "1-1"}
    await peer.close()


async def test_a_worker_of_ours_goes_on_with_its_attempt(site: Site) -> None:
    first = await Peer().connect(site, "producer", "w", key=KEY, sdkVersion=OURS)
    info = await first.until("stream:info")
    assert (info["lastSeq"], info["attempt"]) == (None, 1)
    for seq in range(3):
        await first.client.emit("producer:chunk", {"seq": seq, "data": str(seq)})
    await eventually(lambda: site.relay.state("w").last == 3)

    # While the first connection still seems to live.
    again = {"nonce": info["nonce"], "attempt": 1, "sdkVersion": OURS}
    second = await Peer().connect(site, "producer", "w", key=KEY, **again)
    assert (await second.until("stream:info"))["lastSeq"] == 2
    for seq in (1, 2, 3):
        await second.client.emit("producer:chunk", {"seq": seq, "data": str(seq)})
    with contextlib.suppress(socketio.exceptions.BadNamespaceError):  # it was told already
        await first.client.emit("producer:chunk", {"seq": 3, "data": "from the dead"})
    answer = await second.client.call("producer:end", {"reason": "stopped", "lastSeq": 3})
    assert answer["success"]

    assert await read(site, "w") == ([0, 1, 2, 3], "stopped")
    assert site.relay.state("w").attempt == 1
    await first.close()
    await second.close()


async def test_a_living_producer_is_not_disturbed(make_site: MakeSite, redis_url: str) -> None:
    site = await make_site(redis_url, api_keys=(KEY,), lease=2.0, reap_after=0.3)
    peer = await Peer().connect(site, "producer", "held", key=KEY)
    with pytest.raises(StreamstraightServerError, match="a living producer holds the stream"):
        await sdk(site, "held")
    # Longer than the lease, which the relay keeps for a silent producer.
    claimed = site.relay.state("held")
    await eventually(lambda: site.relay.state("held").now > claimed.now + claimed.lease_left)
    with pytest.raises(StreamstraightServerError, match="a living producer holds the stream"):
        await sdk(site, "held")
    await peer.close()


async def test_one_that_vanishes(site: Site) -> None:
    peer = await Peer().connect(site, "producer", "vanished", key=KEY)
    await peer.client.emit("producer:chunk", {"seq": 0, "data": "1"})
    await eventually(lambda: site.relay.state("vanished").last == 1)
    await silence(peer)
    # Nobody reads, so it is not the hub that ends it.
    await ended(site, "vanished")
    assert await read(site, "vanished") == ([1], "producer-disconnected")


@pytest.mark.parametrize(
    ("sdk_version", "payload", "code"),
    [
        ("0.2.10", {"seq": 7, "data": "7"}, "gap"),
        ("0.2.10", {"seq": 1}, "bad-chunk"),
        (OURS, {"seq": 7, "data": "7"}, "gap"),
    ],
)
async def test_one_that_was_refused_in_mid_stream_is_not_open_for_ever(
    site: Site, sdk_version: str, payload: Any, code: str
) -> None:
    peer = await Peer().connect(site, "producer", "broken", key=KEY, sdkVersion=sdk_version)
    await peer.client.emit("producer:chunk", {"seq": 0, "data": "1"})
    await eventually(lambda: site.relay.state("broken").last == 1)
    await peer.client.emit("producer:chunk", payload)
    assert (await peer.until("stream:error"))["code"] == code
    # Nobody reads, so it is not the hub that ends it.
    await ended(site, "broken")
    assert await read(site, "broken") == ([1], "producer-disconnected")
    await peer.close()


async def test_a_worker_whose_log_was_lost_comes_back_or_its_stream_ends(
    make_site: MakeSite, own_redis: RedisServer
) -> None:
    site = await make_site(own_redis.url(), api_keys=(KEY,), lease=0.6, reap_after=0.3)
    peer = await Peer().connect(site, "producer", "lost", key=KEY, sdkVersion=OURS)
    await peer.client.emit("producer:chunk", {"seq": 0, "data": "1"})
    await eventually(lambda: site.relay.state("lost").last == 1)
    with redis.Redis.from_url(own_redis.url()) as client:
        client.delete("ss:{lost}:s")  # evicted: the state stays
    await peer.client.emit("producer:chunk", {"seq": 1, "data": "2"})
    await eventually(lambda: not peer.client.connected)
    await ended(site, "lost")
    assert site.relay.state("lost").end == "producer-disconnected"


async def test_a_silent_one(make_site: MakeSite, redis_url: str) -> None:
    site = await make_site(redis_url, api_keys=(KEY,), lease=0.3, inactivity_timeout=0.8)
    silent, beating = Peer(), Peer()
    await silent.connect(site, "producer", "silent", key=KEY)
    await beating.connect(site, "producer", "beating", key=KEY)
    await silent.client.emit("producer:chunk", {"seq": 0, "data": "1"})
    while not site.relay.state("silent").end:
        await beating.client.emit("producer:heartbeat", {})
        await asyncio.sleep(0.05)
    assert await read(site, "silent") == ([1], "inactivity-timeout")
    assert (await silent.until("stream:error"))["code"] == "inactivity-timeout"
    assert not site.relay.state("beating").end
    await silent.close()
    await beating.close()


async def test_a_stop_reaches_it(site: Site) -> None:
    server = await sdk(site, "stopped")
    async with server.stream_writer() as writer:
        await writer.send(1)
        await eventually(lambda: site.relay.state("stopped").last == 1)
        site.relay.call(Stop("stopped"))
        await eventually(lambda: server._disconnect_error)
        with pytest.raises(StreamstraightServerError, match="the stream was stopped"):
            await writer.send(2)
        writer._closed = True
    assert await read(site, "stopped") == ([1], "stopped")


async def test_a_worker_of_ours_is_told_of_a_stop(site: Site) -> None:
    peer = await Peer().connect(site, "producer", "told", key=KEY, sdkVersion=OURS)
    site.relay.call(Stop("told"))
    await eventually(lambda: any(info["stopAsked"] for info in peer.named("stream:info")))
    answer = await peer.client.call("producer:end", {"reason": "stopped", "lastSeq": -1})
    assert answer["success"]
    await peer.close()


async def test_a_superseded_producer_is_told(site: Site) -> None:
    peer = await Peer().connect(site, "producer", "fenced", key=KEY)
    site.relay.call(Claim("fenced", "0badcafe", overwrite=True))
    await peer.client.emit("producer:chunk", {"seq": 0, "data": "late"})
    assert (await peer.until("stream:error"))["code"] == "fenced"
    assert site.relay.state("fenced").last == 0
    await peer.close()


async def test_streams_are_kept_for_an_hour_by_default(site: Site) -> None:
    assert StreamSettings().ttl == 3600


async def test_the_door_is_closed_without_keys(make_site: MakeSite, redis_url: str) -> None:
    site = await make_site(redis_url)
    with pytest.raises(StreamstraightServerError):
        await sdk(site, "s")
    async with httpx.AsyncClient() as client:
        for method, path in (("GET", "/socket.io/?EIO=4"), ("POST", "/v1/token")):
            answer = await client.request(method, base_url(site) + path)
            assert answer.status_code == 403
            assert "stream_api_keys is not set" in answer.json()["error"]["message"]


async def test_a_missing_extra_is_named(
    make_site: MakeSite, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "websockets", None)
    site = await make_site(redis_url, api_keys=(KEY,))
    async with httpx.AsyncClient() as client:
        answer = await client.get(base_url(site) + "/socket.io/?EIO=4")
    assert answer.status_code == 403
    assert (
        "pip install 'streamstraight-celery[streamstraight]'" in answer.json()["error"]["message"]
    )
    # The keys are good for the other doors all the same.
    site.producer("s").append(1)
    assert (await Client(site.port, KEY).read("s")).json == [1]


async def test_nothing_is_ever_unpickled(site: Site) -> None:
    # CVE-2025-61765: python-socketio's managers on Redis and other brokers unpickle messages.
    endpoint = site.app.start().socketio
    assert endpoint is not None
    assert type(endpoint._server.manager) is socketio.AsyncManager
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    floors = re.findall(r'"python-socketio>=(\d+)\.(\d+)', project)
    assert floors
    assert all((int(major), int(minor)) >= (5, 14) for major, minor in floors)


async def test_connections_that_say_nothing_are_closed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamstraight_celery.server.socketio.backpressure.HANDSHAKE_SECONDS", 0.3)
    url = f"ws://127.0.0.1:{site.port}/socket.io/?EIO=4&transport=websocket"
    async with websockets.connect(url) as connection:
        assert len([text async for text in connection]) == 1  # the opening
