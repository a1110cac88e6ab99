"""The one pub/sub connection, and requests, of the relay server on Redis."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis

from streamstraight_celery.cancellation import cancelled
from streamstraight_celery.errors import (
    ConfigurationError,
    MissingDependencyError,
    RelayUnavailableError,
)
from streamstraight_celery.relays.base import Notice, RelayOptions, Watcher
from streamstraight_celery.relays.redis.async_relay import SCRIPT_ENTRIES, AsyncRedisRelay
from streamstraight_celery.relays.redis.pubsub import Address, RedisWatcher, pack
from streamstraight_celery.relays.redis.relay import RedisRelay
from streamstraight_celery.relays.redis.scripts import Calls
from streamstraight_celery.relays.requests import Claim, Create, Read
from tests.conftest import RedisServer
from tests.support.waiting import eventually_async as eventually

from .producer import Producer


@dataclass
class Heard:
    """What a watcher reported."""

    notices: list[tuple[str, Notice]] = field(default_factory=list)
    gaps: int = 0

    def on_notice(self, stream_id: str, notice: Notice) -> None:
        self.notices.append((stream_id, notice))

    def on_gap(self) -> None:
        self.gaps += 1


@pytest.fixture
async def relay(redis_url: str) -> AsyncIterator[AsyncRedisRelay]:
    relay = AsyncRedisRelay(redis_url, RelayOptions())
    yield relay
    await relay.close()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def watcher(relay: AsyncRedisRelay, heard: Heard) -> AsyncIterator[Watcher]:
    watcher = relay.watch(heard.on_notice, heard.on_gap)
    yield watcher
    await watcher.close()


def producer_on(url: str, stream_id: str) -> Producer:
    return Producer(RedisRelay(url, RelayOptions()), stream_id)


async def test_notices_of_subscribed_streams_are_heard(
    redis_url: str, watcher: Watcher, heard: Heard
) -> None:
    await watcher.subscribe("a")
    a, b = producer_on(redis_url, "a").claim(), producer_on(redis_url, "b").claim()
    b.append("not heard")
    a.append(1, 2)
    a.append(3, end="completed")
    await eventually(lambda: len(heard.notices) == 3)
    assert [name for name, _ in heard.notices] == ["a"] * 3
    claimed, first, second = (notice for _, notice in heard.notices)
    assert (claimed.attempt, claimed.first, claimed.last) == (1, 1, 0)
    assert (first.first, first.last, first.data, first.end) == (1, 2, b"1\n2", "")
    assert (second.first, second.last, second.data, second.end) == (3, 3, b"3", "completed")
    assert heard.gaps == 0
    watcher.unsubscribe("a")
    await watcher.subscribe("c")
    a.relay.call(Create("c", "x"))
    a.relay.call(Claim("a", "ffffffff", "x"))
    await watcher.subscribe("d")
    assert len(heard.notices) == 3


async def test_a_killed_connection_is_replaced_and_the_gap_told(
    redis_url: str, watcher: Watcher, heard: Heard
) -> None:
    names = [f"s{number}" for number in range(1200)]
    await asyncio.gather(*(watcher.subscribe(name) for name in names))
    with redis.Redis.from_url(redis_url) as client:
        for number in range(1, 4):
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await eventually(lambda number=number: heard.gaps == number)  # type: ignore[misc]
            producer_on(redis_url, f"s{number}").claim()
            await eventually(lambda number=number: len(heard.notices) == number)  # type: ignore[misc]
        assert len(client.pubsub_channels("ss:{s*")) == 1200


async def test_subscribing_while_redis_is_away_does_not_wait(own_redis: RedisServer) -> None:
    heard = Heard()
    relay = AsyncRedisRelay(own_redis.url(), RelayOptions())
    watcher = relay.watch(heard.on_notice, heard.on_gap)
    await watcher.subscribe("before")
    own_redis.kill()
    await eventually(lambda: watcher._link is None)  # type: ignore[attr-defined]
    await asyncio.wait_for(watcher.subscribe("meanwhile"), 1)
    await asyncio.get_running_loop().run_in_executor(None, own_redis.start)
    await eventually(lambda: heard.gaps == 1)
    for name in ("before", "meanwhile"):
        producer_on(own_redis.url(), name).claim()
    await eventually(lambda: len(heard.notices) == 2)
    await watcher.close()
    await relay.close()


async def test_the_log_tells_of_an_outage_and_of_its_end(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    relay = AsyncRedisRelay(own_redis.url(), RelayOptions())
    watcher = relay.watch(lambda *_: None, lambda: None)
    assert isinstance(watcher, RedisWatcher)
    try:
        await eventually(lambda: watcher._link is not None)
        assert not caplog.messages
        own_redis.kill()
        await eventually(lambda: "cannot be reached" in caplog.text)
        await asyncio.get_running_loop().run_in_executor(None, own_redis.start)
        await eventually(lambda: "is there again" in caplog.text)
        assert len(caplog.messages) == 2
    finally:
        await watcher.close()
        await relay.close()


async def test_the_first_connection_is_waited_for(unused_tcp_port: int) -> None:
    """Nobody listens: subscribe returns as soon as that is known."""
    heard = Heard()
    watcher = RedisWatcher(
        Address(port=unused_tcp_port), Calls(RelayOptions()), heard.on_notice, heard.on_gap
    )
    await asyncio.wait_for(watcher.subscribe("x"), 2)
    await watcher.close()


class Scripted:
    """A server that records commands and answers by a function."""

    def __init__(self, answer: Any) -> None:
        self.commands: list[list[bytes]] = []
        self.connections = 0
        self._answer = answer
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Scripted:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                size = int((await reader.readline())[1:])
                words.append((await reader.readexactly(size + 2))[:-2])
            self.commands.append(words)
            writer.write(self._answer(words))


def confirm(words: list[bytes]) -> bytes:
    if words[0] == b"SUBSCRIBE":
        return b"".join(
            b"*3\r\n$9\r\nsubscribe\r\n$%d\r\n%b\r\n:1\r\n" % (len(name), name)
            for name in words[1:]
        )
    return b"+OK\r\n"


async def test_a_provider_of_logins_is_asked_again_after_it_failed() -> None:
    class Provider:
        asked = 0

        async def get_credentials_async(self) -> tuple[str, str]:
            self.asked += 1
            if self.asked == 1:
                raise ValueError("no token now")
            return "u", "token"

    heard, provider = Heard(), Provider()
    async with Scripted(confirm) as server:
        watcher = RedisWatcher(
            Address(port=server.port, provider=provider),
            Calls(RelayOptions()), heard.on_notice, heard.on_gap,
        )  # fmt: skip
        await watcher.subscribe("x")
        await eventually(lambda: len(server.commands) >= 2)
        assert server.commands[:2] == [[b"AUTH", b"u", b"token"], [b"SUBSCRIBE", b"ss:{x}:n"]]
        await watcher.close()


async def test_it_logs_in_before_it_subscribes() -> None:
    heard = Heard()
    async with Scripted(confirm) as server:
        for given, expected in (
            ({"password": "p"}, [b"AUTH", b"p"]),
            ({"username": "u", "password": "p"}, [b"AUTH", b"u", b"p"]),
        ):
            server.commands.clear()
            watcher = RedisWatcher(
                Address(port=server.port, **given),  # type: ignore[arg-type]
                Calls(RelayOptions()), heard.on_notice, heard.on_gap,
            )  # fmt: skip
            await watcher.subscribe("x")
            assert server.commands[0] == expected
            assert server.commands[1] == [b"SUBSCRIBE", b"ss:{x}:n"]
            await watcher.close()


async def test_a_silent_connection_is_given_up() -> None:
    heard = Heard()
    async with Scripted(
        lambda words: confirm(words) if words[0] == b"SUBSCRIBE" else b""
    ) as server:
        watcher = RedisWatcher(
            Address(port=server.port), Calls(RelayOptions()), heard.on_notice, heard.on_gap,
            ping_interval=0.05,
        )  # fmt: skip
        await watcher.subscribe("x")
        await eventually(lambda: server.connections >= 2 and heard.gaps >= 1)
        assert [b"PING"] in server.commands
        await watcher.close()


async def test_a_refusal_does_not_hold_anybody_up(caplog: pytest.LogCaptureFixture) -> None:
    heard = Heard()
    async with Scripted(lambda words: b"-NOAUTH Authentication required.\r\n") as server:
        watcher = RedisWatcher(
            Address(port=server.port), Calls(RelayOptions()), heard.on_notice, heard.on_gap
        )
        await asyncio.wait_for(watcher.subscribe("x"), 2)
        assert "NOAUTH" in caplog.text
        await watcher.close()


async def test_malformed_notices_are_left_out(
    redis_url: str, watcher: Watcher, heard: Heard
) -> None:
    await watcher.subscribe("x")
    number = redis_url.rpartition("/")[2]
    with redis.Redis.from_url(redis_url) as client:
        for message in (b"", b"nonsense", b"1 2 3", b"a b c d e\n", b"\xff\xfe"):
            assert client.publish(f"ss:{{x}}:n{number}", message) == 1
    producer_on(redis_url, "x").claim()
    await eventually(lambda: heard.notices)
    assert len(heard.notices) == 1


def test_commands_are_packed() -> None:
    assert pack("PING") == b"*1\r\n$4\r\nPING\r\n"
    assert pack("SUBSCRIBE", "\u00e4") == b"*2\r\n$9\r\nSUBSCRIBE\r\n$2\r\n\xc3\xa4\r\n"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h:7000/3", {"host": "h", "port": 7000}),
        ("redis://u:p%40ss@h", {"host": "h", "username": "u", "password": "p@ss"}),
        ("redis://:p@h", {"password": "p"}),
        ("unix:///run/redis.sock?db=2", {"path": "/run/redis.sock"}),
        ("rediss://h?ssl_cert_reqs=none", {"host": "h"}),
    ],
)
async def test_addresses_come_from_the_url(url: str, expected: dict[str, Any]) -> None:
    relay = AsyncRedisRelay(url, RelayOptions())
    address = relay._address()
    assert {name: getattr(address, name) for name in expected} == expected
    assert (address.tls is not None) == url.startswith("rediss")
    await relay.close()


async def test_without_hiredis(monkeypatch: pytest.MonkeyPatch, relay: AsyncRedisRelay) -> None:
    monkeypatch.setitem(sys.modules, "hiredis", None)
    heard = Heard()
    with pytest.raises(MissingDependencyError, match="hiredis"):
        relay.watch(heard.on_notice, heard.on_gap)


def test_a_wrong_url_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigurationError, match="stream_relay_url"):
        AsyncRedisRelay("redis://h/0?socket_timeout=soon", RelayOptions())


@pytest.mark.parametrize(
    "number", [0, 1, SCRIPT_ENTRIES - 1, SCRIPT_ENTRIES, SCRIPT_ENTRIES + 1, 500]
)
@pytest.mark.parametrize("limit", [1, SCRIPT_ENTRIES, SCRIPT_ENTRIES + 1, 256, 4096])
async def test_pages_are_what_the_sync_relay_reads(
    redis_url: str, relay: AsyncRedisRelay, number: int, limit: int
) -> None:
    producer = producer_on(redis_url, "long").claim()
    for chunk in range(number):
        producer.append(chunk, "second")
    producer.end()
    for seq in {0, 1, number, 2 * number}:
        read = Read("long", 1 if seq else 0, seq, limit)
        page, expected = (await relay.read([read]))[0], producer.relay.read(read)
        assert page is not None
        assert expected is not None
        assert page.entries == expected.entries
        assert page.state.last == expected.state.last


async def test_many_reads_at_once_are_not_mixed_up(redis_url: str, relay: AsyncRedisRelay) -> None:
    for number in range(20):
        producer_on(redis_url, f"s{number}").claim().append(*[number] * (number + 1))
    reads = [Read(f"s{number}", 0, 0, 100) for number in range(21)]
    pages = await relay.read(reads)
    assert pages[20] is None
    assert [page.state.last for page in pages[:20] if page] == list(range(1, 21))


async def test_cancelled_requests_leak_nothing(redis_url: str, relay: AsyncRedisRelay) -> None:
    for number in range(2):
        producer = producer_on(redis_url, f"s{number}").claim()
        for _ in range(200):
            producer.append(f"stream {number} " + "x" * 1000)
    for _ in range(30):
        first = asyncio.ensure_future(relay.read([Read("s0", 0, 0, 1000)]))
        for _ in range(3):
            await asyncio.sleep(0)
        first.cancel()
        page = (await relay.read([Read("s1", 0, 0, 1000)]))[0]
        assert page is not None
        assert all(b"stream 1" in entry.data for entry in page.entries)
        await asyncio.gather(first, return_exceptions=True)


async def test_a_relay_that_does_not_answer(unused_tcp_port: int) -> None:
    relay = AsyncRedisRelay(f"redis://:hunter2@127.0.0.1:{unused_tcp_port}", RelayOptions())
    for asking in (relay.ping(), relay.read([Read("x")]), relay.execute([Create("x", "y")])):
        with pytest.raises(RelayUnavailableError) as caught:
            await asking
        assert "hunter2" not in str(caught.value)
    await relay.close()


async def test_requests_are_carried_out(relay: AsyncRedisRelay) -> None:
    answers = await relay.execute([Create("x", "a"), Create("x", "b"), Claim("x", "aaaaaaaa")])
    assert [answer.kind for answer in answers] == ["ok", "exists", "ok"]
    await relay.ping()


async def test_what_uvloop_raises_for_a_lost_connection_is_an_absent_relay(
    relay: AsyncRedisRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: object) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>")

    with monkeypatch.context() as patched:
        patched.setattr(asyncio.StreamWriter, "writelines", closed)
        for asking in (relay.ping(), relay.read([Read("x")]), relay.execute([Create("x", "y")])):
            with pytest.raises(RelayUnavailableError, match="does not answer"):
                await asking
    await relay.ping()


async def test_another_primary_is_watched_although_the_old_one_lives() -> None:
    heard = Heard()
    async with Scripted(confirm) as old, Scripted(confirm) as new:
        places = [old.port]

        async def locate() -> Address:
            return Address(port=places[-1])

        watcher = RedisWatcher(
            locate, Calls(RelayOptions()), heard.on_notice, heard.on_gap, ping_interval=0.05
        )
        await watcher.subscribe("x")
        assert [b"SUBSCRIBE", b"ss:{x}:n"] in old.commands
        places.append(new.port)
        await eventually(lambda: [b"SUBSCRIBE", b"ss:{x}:n"] in new.commands and heard.gaps)
        await watcher.close()


async def test_a_place_that_is_not_known_now_keeps_what_there_is() -> None:
    heard = Heard()
    async with Scripted(confirm) as server:
        asked = 0

        async def locate() -> Address:
            nonlocal asked
            asked += 1
            if asked > 1:
                raise OSError("the sentinels are away")
            return Address(port=server.port)

        watcher = RedisWatcher(
            locate, Calls(RelayOptions()), heard.on_notice, heard.on_gap, ping_interval=0.05
        )
        await watcher.subscribe("x")
        await eventually(lambda: asked > 3)
        assert server.connections == 1
        await watcher.close()


@pytest.mark.parametrize(
    "reply", [b"-MOVED 1 127.0.0.1:1\r\n", b"*3\r\n$12\r\nsunsubscribe\r\n$8\r\nss:{x}:n\r\n:0\r\n"]
)
async def test_a_channel_that_moved_to_another_node_is_said(reply: bytes) -> None:
    heard, troubles = Heard(), 0

    def trouble() -> None:
        nonlocal troubles
        troubles += 1

    async with Scripted(lambda words: reply if words[0] == b"SSUBSCRIBE" else b"") as server:
        watcher = RedisWatcher(
            Address(port=server.port), Calls(RelayOptions(), publish=b"SPUBLISH"),
            heard.on_notice, heard.on_gap, on_trouble=trouble,
        )  # fmt: skip
        subscribing = asyncio.ensure_future(watcher.subscribe("x"))
        await eventually(lambda: troubles and server.connections > 1)
        await watcher.close()
        await subscribing


async def test_closing_at_the_moment_a_connection_fails_ends_the_watcher() -> None:
    """Until Python 3.12 `wait_for` loses such a cancellation; the watcher would go on for ever."""
    heard = Heard()
    closing: list[asyncio.Task[None]] = []

    async def locate() -> Address:
        if not closing:
            closing.append(asyncio.ensure_future(watcher.close()))
        raise OSError("nobody listens")

    watcher = RedisWatcher(locate, Calls(RelayOptions()), heard.on_notice, heard.on_gap)
    await eventually(lambda: closing and closing[0].done())


async def test_a_task_that_forgets_its_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamstraight_celery.cancellation.AGAIN", 0.01)
    forgotten = 0

    async def forgetful() -> None:
        nonlocal forgotten
        while forgotten < 3:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                forgotten += 1
        raise ValueError("not raised where it is ended")

    async def orderly() -> None:
        await asyncio.sleep(60)

    tasks = [asyncio.ensure_future(forgetful()), asyncio.ensure_future(orderly())]
    await asyncio.sleep(0)
    await cancelled(*tasks)
    assert (forgotten, tasks[0].done(), tasks[1].cancelled()) == (3, True, True)
