"""Readers over HTTP while a relay server fails in every way, at random: each chunk exactly once."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from streamstraight_celery import StreamError
from streamstraight_celery.reader.opening import over_http, over_http_async
from streamstraight_celery.reader.options import ReadOptions
from streamstraight_celery.reader.timing import Timing
from tests.clients.relay import Scripted, ScriptedRelay, part_bytes
from tests.support.faulty_relay import FaultyRelay, offset_of

TLS = ssl.create_default_context()  # made once: it takes longer than most readings


@dataclass
class Got:
    """What a consumer got, and the reader, closed."""

    chunks: list[Any] = field(default_factory=list)
    error: StreamError | None = None
    reader: Any = None


def options(offset: str) -> ReadOptions:
    """Without waiting between tries; a reset would be a mistake, as nothing was replaced."""
    return ReadOptions(offset=offset, timing=Timing(random=lambda: 0.0, pause=lambda _: 0.0))


class Reading:
    """Reads by `read_stream`'s reader, over one HTTP client."""

    def __init__(self) -> None:
        self._client = httpx.Client(verify=TLS)

    def close(self) -> None:
        self._client.close()

    def read(
        self,
        url: str,
        get_token: Callable[[], str] | None = None,
        *,
        offset: str = "-1",
        take: int = 0,
        stop: bool = False,
    ) -> Got:
        """Read to the end, or so many chunks; `stop`: ask for a stop, in vain, after the first."""
        got = Got()
        with over_http(url, None, get_token, self._client, options(offset)) as got.reader:
            try:
                for chunk in got.reader:
                    got.chunks.append(chunk)
                    if len(got.chunks) == take:
                        break
                    if stop and len(got.chunks) == 1:
                        with pytest.raises(StreamError, match="abc"):
                            got.reader.stop()
            except StreamError as error:
                got.error = error
        return got


class AsyncReading(Reading):
    """The same by `aread_stream`'s."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._async_client = httpx.AsyncClient(verify=TLS)

    def close(self) -> None:
        self._loop.run_until_complete(self._async_client.aclose())
        self._loop.close()

    def read(self, url: str, get_token: Any = None, **how: Any) -> Got:
        return self._loop.run_until_complete(self._read(url, get_token, **how))

    async def _read(
        self, url: str, get_token: Any, *, offset: str = "-1", take: int = 0, stop: bool = False
    ) -> Got:
        got, client = Got(), self._async_client
        async with over_http_async(url, None, get_token, client, options(offset)) as got.reader:
            try:
                async for chunk in got.reader:
                    got.chunks.append(chunk)
                    if len(got.chunks) == take:
                        break
                    if stop and len(got.chunks) == 1:
                        with pytest.raises(StreamError, match="abc"):
                            await got.reader.stop()
            except StreamError as error:
                got.error = error
        return got


@pytest.fixture(params=[Reading, AsyncReading], ids=["sync", "async"])
def reading(request: pytest.FixtureRequest) -> Iterator[Reading]:
    reading: Reading = request.param()
    yield reading
    reading.close()


@pytest.mark.parametrize("seed", range(1, 13))
def test_a_random_mix_of_faults(reading: Reading, seed: int) -> None:
    with FaultyRelay(seed) as relay:
        got = reading.read(relay.url, relay.get_token)
    assert got.error is None, (got.error, relay.seen)
    assert got.chunks == relay.log, relay.seen
    assert got.reader.end_reason == "completed"
    assert len(relay.seen) > 5, "it met too few faults to prove anything"


@pytest.mark.parametrize("seed", range(4))
def test_reading_on_from_where_one_left_the_log_having_grown(reading: Reading, seed: int) -> None:
    with FaultyRelay(seed, faults=60, log=[0, 1]) as relay:
        chunks: list[Any] = []
        place = "-1"
        for size in range(3, 12):
            got = reading.read(relay.url, relay.get_token, offset=place, take=1)
            assert got.error is None, relay.seen
            chunks += got.chunks
            place = got.reader.offset
            relay.log.append(size - 1)
        got = reading.read(relay.url, relay.get_token, offset=place)
    assert (got.error, chunks + got.chunks) == (None, list(range(11))), relay.seen


def test_a_connection_that_is_lost_at_any_byte(reading: Reading) -> None:
    chunks = ["ü🙂", {"b": [1]}]

    def frames(start: int) -> bytes:
        parts: list[Any] = [
            part
            for number in range(start, len(chunks))
            for part in (
                {"data": [chunks[number]], "id": offset_of(number + 1)},
                {"control": {"streamNextOffset": offset_of(number + 1)}},
            )
        ]
        end = {"streamNextOffset": offset_of(len(chunks)), "streamClosed": True}
        return b"".join(map(part_bytes, [*parts, {"control": end}]))

    head = {"content-type": "text/event-stream"}
    whole = frames(0)
    ends = [whole.index(f"id: {offset_of(n)}".encode()) for n in (1, 2)]
    with ScriptedRelay() as relay:
        for cut in range(1, len(whole)):
            had = sum(whole.find(b"\n\n", end) + 2 <= cut for end in ends)
            relay.play(
                [Scripted(200, head, [whole[:cut]], "cut"), Scripted(200, head, [frames(had)])]
            )
            got = reading.read(relay.url)
            assert (got.chunks, got.error) == (chunks, None), f"cut at {cut}"


@pytest.mark.parametrize(
    "malformed", ["event: control\ndata:{\n\n", "event: control\ndata:[]\n\n",
                  "event: control\ndata:null\n\n", "event: data\nid: x\ndata:{}\n\n"],
)  # fmt: skip
def test_a_malformed_frame_on_the_second_response(reading: Reading, malformed: str) -> None:
    head = {"content-type": "text/event-stream"}
    first = part_bytes({"data": ["a", "b"], "id": offset_of(2)})
    second = [part_bytes({"data": ["c"], "id": offset_of(3)}), malformed.encode()]
    after = part_bytes({"data": ["d"], "id": offset_of(4)})
    with ScriptedRelay() as relay:
        relay.play([Scripted(200, head, [first], "cut"), Scripted(200, head, [*second, after])])
        got = reading.read(relay.url)
    assert got.chunks == ["a", "b", "c"]
    assert got.error is not None
    assert got.error.code == "bad-frame"
    assert "'abc'" in str(got.error)


@pytest.mark.parametrize(
    "fault",
    [
        Scripted(500, {}, []),
        Scripted(403, {"content-type": "application/json"}, [b'{"error":{"code":"forbidden"}}']),
        Scripted(401, {}, []),
        Scripted(200, {"content-type": "text/html"}, [b"<h1>Sorry</h1>"]),
        Scripted(200, {}, [], "refuse"),
    ],
    ids=["500", "403", "401", "a page of a proxy", "dropped"],
)
def test_a_stop_that_fails_does_not_hurt_reading(reading: Reading, fault: Scripted) -> None:
    head = {"content-type": "text/event-stream"}
    frames = [part_bytes({"data": [n], "id": offset_of(n)}) for n in (1, 2)]
    end = part_bytes({"control": {"streamNextOffset": offset_of(3), "streamClosed": True}})
    rest = [part_bytes({"data": [3], "id": offset_of(3)}), end]
    with ScriptedRelay() as relay:
        relay.play([Scripted(200, head, frames, "cut"), fault, Scripted(200, head, rest)])
        got = reading.read(relay.url, stop=True)
        assert relay.left == 0
    assert (got.chunks, got.error) == ([1, 2, 3], None)
