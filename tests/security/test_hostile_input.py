"""No input breaks a stream for others, and none makes a 5xx or a traceback."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import closing
from typing import Any

import pytest

from streamstraight_celery.integrations.answers import is_foreign
from streamstraight_celery.relays import open_relay
from streamstraight_celery.relays.requests import Open, Write
from streamstraight_celery.server.content import (
    JSON,
    MAX_MESSAGES,
    MalformedContentError,
    TooManyValuesError,
    messages_of,
)
from streamstraight_celery.settings import StreamSettings
from tests.server.conftest import Site
from tests.server.socketio import KEY, VERSION, Peer
from tests.server.writer import Writer

from .raw import connected, frame, longest_healthz, upgraded

HUGE = 10**30


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "null", "//", "http://evil.example"])
def test_an_origin_that_is_none_is_foreign(origin: str) -> None:
    assert is_foreign({"Origin": origin, "Host": "example.com"}, [])


@pytest.mark.parametrize("attempt", [HUGE, -1, 2**31, True, 1.5, "1", None, [1], {}])
async def test_a_handshake_with_an_odd_attempt_breaks_nothing(site: Site, attempt: Any) -> None:
    auth = {
        "role": "producer", "streamId": "odd", "version": VERSION, "nonce": "aaaaaaaa",
        "attempt": attempt, "sdkVersion": "1+celery.json",
    }  # fmt: skip
    async with connected(site.port) as raw:
        await upgraded(raw)
        await raw.send(frame(f"40{json.dumps(auth)}"))
        await raw.until(b"44{")
    answer = await Writer(site).get("/v1/overview", {"Authorization": f"Bearer {KEY}"})
    assert answer.status == 200


@pytest.mark.parametrize(
    "end",
    [
        {"reason": ["completed"], "lastSeq": -1},
        {"reason": {}, "lastSeq": -1},
        {"reason": None, "lastSeq": -1},
        {"reason": "completed", "lastSeq": HUGE},
        {"reason": "completed", "lastSeq": -2},
        {"reason": "completed", "lastSeq": True},
        {"reason": "\ud800", "lastSeq": -1},
        {"reason": "producer-error", "lastSeq": -1, "error": "not JSON"},
        {"reason": "producer-error", "lastSeq": -1, "error": "[" * 100_000},
        {"reason": "producer-error", "lastSeq": -1, "error": "1" * 5000},
        {"reason": "producer-error", "lastSeq": -1, "error": '"\ud800"'},
        {"reason": "producer-error", "lastSeq": -1, "error": "NaN"},
        None,
        [],
        "x",
    ],
    ids=str,
)
async def test_an_odd_end_breaks_nothing(
    site: Site, end: Any, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await Peer().connect(site, "producer", "ended", key=KEY, sdkVersion="1+celery.json")
    answer = await peer.client.call("producer:end", end, timeout=10)
    assert set(answer) <= {"success", "error", "endRedisId"}
    await peer.close()
    token = site.client("ended")
    for path in ("/v1/stream/ended", "/v1/overview", "/healthz"):
        headers = {"Authorization": f"Bearer {KEY}"} if "overview" in path else {}
        assert (await token.get(path, headers)).status < 500
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("seq", [HUGE, -1, True, "0", None])
async def test_an_odd_chunk_breaks_nothing(site: Site, seq: Any) -> None:
    peer = await Peer().connect(site, "producer", "chunk", key=KEY)
    await peer.client.emit("producer:chunk", {"seq": seq, "data": "x"})
    await peer.until("stream:error")
    await peer.close()


async def test_a_chunk_of_bytes_that_is_not_base64_breaks_nothing(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await Peer().connect(site, "producer", "bytes", key=KEY, sdkVersion="1+celery.bytes")
    await peer.client.emit("producer:chunk", {"seq": 0, "data": "not base64!"})
    await peer.until("stream:error")
    await peer.close()
    assert (await site.client("bytes").read("bytes")).status < 500
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("number", ["1" * 4301, "-" + "1" * 5000, f'{{"a":{"9" * 5000}}}'])
def test_a_number_that_python_cannot_read_is_refused(number: str) -> None:
    with pytest.raises(MalformedContentError):
        messages_of(number.encode())
    assert messages_of(b"1" * 4300) == [b"1" * 4300]


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"{}," * 3_000_000 + b"{}]",
        b"[[" + b"0," * 3_000_000 + b"0]]",
        b"[" + b"1," * MAX_MESSAGES + b"1]",
        b"[" * 1_000_000 + b"]" * 1_000_000,
    ],
    ids=["messages", "one message of many values", "one too many", "nested"],
)
def test_a_body_of_too_many_values_is_refused_before_it_costs(body: bytes) -> None:
    with pytest.raises(TooManyValuesError):
        messages_of(body)


def test_a_body_has_so_many_messages() -> None:
    assert len(messages_of(b"[" + b"1," * (MAX_MESSAGES - 1) + b"1]")) == MAX_MESSAGES


async def test_a_large_write_and_its_readers_do_not_stop_the_others(site: Site) -> None:
    writer = Writer(site)
    await writer.put()
    one = b"[" + b",".join([b'{"a":[1,2]}'] * 10_000) + b"]"

    async def busy() -> None:
        refused = await writer.post(b"[" + b"{}," * 600_000 + b"{}]")
        assert refused.status == 413
        for _ in range(3):
            assert (await writer.post(one)).status == 204
        await writer.close_stream()
        await asyncio.gather(
            *(writer.request("GET", f"/v1/sse/{writer.stream_id}") for _ in range(3))
        )

    assert await longest_healthz(site.port, asyncio.ensure_future(busy())) < 5


async def test_one_stream_is_not_asked_for_a_hundred_times(site: Site) -> None:
    writer = Writer(site)
    body = json.dumps({"streams": [{"id": "s", "token": writer.token}] * 100})
    answer = await writer.exchange("POST", "/v1/streams", body, {})
    assert answer.status == 400


def test_a_stream_keeps_so_many_producers_names(any_relay_url: str) -> None:
    def write(name: int, number: int = 0) -> Write:
        return Write(
            stream_id="s", content_type=JSON, count=1, data=b"1", producer=f"p{name}",
            epoch=0, number=number,
        )  # fmt: skip

    with closing(open_relay(StreamSettings(relay_url=any_relay_url))) as relay:
        opening = Open(stream_id="s", config="", nonce="aaaaaaaa", kind="json", content_type=JSON)
        assert relay.execute([opening])[0].kind == "ok"
        answers = relay.execute([write(name) for name in range(1001)])
        assert [answer.kind for answer in answers] == ["ok"] * 1000 + ["too-large"]
        assert relay.execute([write(0, 1)])[0].kind == "ok"
