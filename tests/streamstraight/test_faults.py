"""Servers that freeze, die, restart, refuse or are slow: nothing is lost, or it is said."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamstraight_celery.errors import (
    RelayRefusedError,
    RelayUnavailableError,
    StreamBusyError,
    StreamClosedError,
    StreamFencedError,
)
from streamstraight_celery.relays.requests import Append, Claim, Read, Stop
from streamstraight_celery.relays.streamstraight.progress import Progress
from streamstraight_celery.relays.streamstraight.socketio import EngineSocket, Packet
from tests.conftest import RedisServer, eventually
from tests.streamstraight.servers import Bare, Ours
from tests.support.proxy import Proxy

CONNECTION = "streamstraight_celery.relays.streamstraight.connection"
PROGRESS = "streamstraight_celery.relays.streamstraight.progress"
MakeClient = Callable[..., Any]
MakeBare = Callable[..., Bare]


@pytest.fixture
def name() -> str:
    return f"stream-{uuid.uuid4().hex}"


@pytest.fixture
def proxy() -> Iterator[Callable[[int], Proxy]]:
    made: list[Proxy] = []

    def make(port: int) -> Proxy:
        made.append(Proxy(port))
        return made[-1]

    yield make
    for each in made:
        each.close()


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def write(writer: Any, start: int, stop: int, pause: float = 0.0) -> None:
    for number in range(start, stop):
        writer.write(str(number))
        time.sleep(pause)


# -- lost connections


@pytest.mark.parametrize("options", [["acks"], ["info"], ["acks", "info"]])
def test_a_cut_connection_is_made_anew(
    bare: MakeBare, client: MakeClient, proxy: Any, name: str, options: list[str]
) -> None:
    server = bare(*options, "slow")
    cutter = proxy(server.port)
    writer = client(cutter.url).open(name)
    write(writer, 0, 20)
    eventually(lambda: len(server.log(name)[0]) >= 5)
    cutter.cut()
    write(writer, 20, 40)
    writer.finish("completed")
    assert server.log(name) == (numbers(40), "completed")
    assert cutter.connections == 2


def test_a_cut_connection_to_our_relay(
    ours: Ours, client: MakeClient, proxy: Any, name: str
) -> None:
    cutter = proxy(ours.port)
    writer = client(cutter.url).open(name)
    for round_ in range(5):
        write(writer, round_ * 200, round_ * 200 + 200)
        eventually(lambda: len(ours.log(name)[0]) >= round_ * 200 + 50)  # noqa: B023
        cutter.cut()
    writer.finish("completed")
    assert ours.log(name) == (numbers(1000), "completed")
    state = ours.relay.state(name)
    assert state.attempt == 1
    assert cutter.connections > 2


def test_one_that_does_not_say_what_it_has_fails_clearly(
    bare: MakeBare, client: MakeClient, proxy: Any, name: str
) -> None:
    server = bare()
    cutter = proxy(server.port)
    interrupted = threading.Event()
    writer = client(cutter.url).open(name, on_interrupt=interrupted.set)
    write(writer, 0, 5)
    eventually(lambda: len(server.log(name)[0]) == 5)
    cutter.cut()
    # A generator that waits is interrupted, and does not go on for nobody.
    assert interrupted.wait(20)
    with pytest.raises(RelayRefusedError, match="does not say what it has"):
        writer.write("5")
    assert server.log(name)[1] == ""


def test_one_that_is_slow_to_say_what_it_has_is_waited_for(
    bare: MakeBare, client: MakeClient, proxy: Any, name: str
) -> None:
    server = bare("info=1")
    cutter = proxy(server.port)
    here = client(cutter.url)
    writer = here.open(name)
    write(writer, 0, 5)
    eventually(lambda: here.relay._service.informs)
    # Another stream has just found it slower than it waits for.
    here.open(f"{name}-2").write("0")
    assert not here.relay._service.informs
    cutter.cut()
    write(writer, 5, 10)
    writer.finish("completed")
    assert server.log(name) == (numbers(10), "completed")


def test_a_connection_lost_before_the_first_chunk_is_no_harm(
    bare: MakeBare, client: MakeClient, proxy: Any, name: str
) -> None:
    server = bare()
    cutter = proxy(server.port)
    writer = client(cutter.url).open(name)
    cutter.cut()
    eventually(lambda: cutter.connections == 2)
    write(writer, 0, 5)
    writer.finish("completed")
    assert server.log(name) == (numbers(5), "completed")


def test_one_that_is_lost_and_made_anew_between_the_chunks_and_the_end(
    bare: MakeBare, client: MakeClient, proxy: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = bare("info")
    cutter = proxy(server.port)
    relay = client(cutter.url).relay
    send = EngineSocket.send

    def send_and_lose(engine: EngineSocket, *texts: str) -> None:
        if cutter.connections > 1 or "producer:chunk" not in texts[0]:
            send(engine, *texts)
            return
        cutter.cut()
        eventually(lambda: cutter.connections > 1 and relay._open[name]._ready)

    monkeypatch.setattr(EngineSocket, "send", send_and_lose)
    relay.call(Claim(name, "0badcafe"))
    append = Append(name, 1, "0badcafe", 1, 2, b"1\n2", "completed")
    eventually(lambda: relay.execute([append])[0].kind == "ok")
    assert server.log(name) == (["1", "2"], "completed")


# -- servers that die


def test_our_relay_is_killed_and_comes_back(
    own_relay: Ours, client: MakeClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is away for longer than a connection may stay without acknowledgements.
    monkeypatch.setattr(f"{PROGRESS}.ACK_TIMEOUT", 1.0)
    writer = client(own_relay.url, relay_timeout=60.0).open(name)
    write(writer, 0, 300)
    eventually(lambda: len(own_relay.log(name)[0]) > 100)
    own_relay.kill()
    write(writer, 300, 600)
    own_relay.start()
    write(writer, 600, 700, pause=0.001)
    writer.finish("completed")
    assert own_relay.log(name) == (numbers(700), "completed")
    assert own_relay.relay.state(name).attempt == 1


def test_a_server_that_comes_back_empty_gets_everything_again(
    own_bare: MakeBare, client: MakeClient, name: str
) -> None:
    server = own_bare("acks", "info")
    writer = client(server.url).open(name)
    write(writer, 0, 50)
    eventually(lambda: len(server.log(name)[0]) == 50)
    server.kill()
    server.start()
    # Silent meanwhile: the renewal finds out.
    eventually(lambda: len(server.log(name)[0]) == 50)
    writer.finish("completed")
    assert server.log(name) == (numbers(50), "completed")


def test_our_relays_redis_comes_back_empty(
    own_redis: RedisServer, folder: Any, client: MakeClient, name: str
) -> None:
    server = Ours(folder, own_redis.url())
    server.start()
    try:
        writer = client(server.url).open(name)
        write(writer, 0, 100)
        eventually(lambda: len(server.log(name)[0]) == 100)
        own_redis.kill()
        own_redis.start()
        write(writer, 100, 200)
        writer.finish("completed")
        assert server.log(name) == (numbers(200), "completed")
    finally:
        server.close()


def test_a_server_that_stays_away(own_bare: MakeBare, client: MakeClient, name: str) -> None:
    server = own_bare("acks", "info")
    writer = client(server.url, relay_timeout=1.0).open(name)
    write(writer, 0, 5)
    server.kill()
    writer.write("5")
    with pytest.raises(RelayUnavailableError, match=r"was not reached|connection was lost"):
        writer.finish("completed")
    with pytest.raises(RelayUnavailableError, match="does not take streams"):
        client(server.url, relay_timeout=0.5).open(name)


# -- frozen and slow ones


def test_our_relay_is_frozen_for_a_moment(own_relay: Ours, client: MakeClient, name: str) -> None:
    writer = client(own_relay.url).open(name)
    write(writer, 0, 100)
    own_relay.freeze()
    write(writer, 100, 200)
    time.sleep(0.5)
    own_relay.thaw()
    writer.finish("completed")
    assert own_relay.log(name) == (numbers(200), "completed")


def test_our_relay_is_frozen_for_longer_than_we_wait(
    own_relay: Ours, client: MakeClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{PROGRESS}.ACK_TIMEOUT", 0.4)
    monkeypatch.setattr(f"{CONNECTION}.IO_TIMEOUT", 0.2)
    monkeypatch.setattr(f"{CONNECTION}.CONNECT_TIMEOUT", 0.4)
    writer = client(own_relay.url).open(name)
    write(writer, 0, 100)
    eventually(lambda: len(own_relay.log(name)[0]) == 100)
    own_relay.freeze()
    write(writer, 100, 200)
    time.sleep(2)
    own_relay.thaw()
    monkeypatch.setattr(f"{CONNECTION}.CONNECT_TIMEOUT", 5.0)
    writer.finish("completed")
    assert own_relay.log(name) == (numbers(200), "completed")
    assert own_relay.relay.state(name).attempt == 1


def test_a_frozen_server_holds_the_generator_and_then_fails_it(
    own_bare: MakeBare, client: MakeClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{PROGRESS}.WINDOW", 10)
    monkeypatch.setattr(f"{PROGRESS}.ACK_TIMEOUT", 0.5)
    monkeypatch.setattr(f"{CONNECTION}.IO_TIMEOUT", 0.2)
    monkeypatch.setattr(f"{CONNECTION}.CONNECT_TIMEOUT", 0.3)
    server = own_bare("acks", "info")
    writer = client(server.url, relay_timeout=1.0, buffer_chunks=20).open(name)
    writer.write("0")
    eventually(lambda: len(server.log(name)[0]) == 1)
    server.freeze()
    with pytest.raises(RelayUnavailableError):
        write(writer, 1, 100_000)
    assert writer.chunks < 1000  # it was held: nothing was taken that could not be kept
    server.thaw()


@pytest.mark.parametrize("chunks", [1, 1000], ids=["the end", "chunks"])
def test_a_server_that_takes_connections_and_acknowledges_nothing_fails_the_stream(
    bare: MakeBare, client: MakeClient, name: str, monkeypatch: pytest.MonkeyPatch, chunks: int
) -> None:
    monkeypatch.setattr(f"{PROGRESS}.WINDOW", 10)
    monkeypatch.setattr(f"{PROGRESS}.ACK_TIMEOUT", 0.3)
    monkeypatch.setattr(f"{CONNECTION}.IO_TIMEOUT", 0.1)
    server = bare("acks", "info", "mute")
    writer = client(server.url, relay_timeout=2.0, buffer_chunks=20).open(name)
    writer.write("0")
    eventually(lambda: len(server.log(name)[0]) == 1)
    began = time.monotonic()

    def go_on() -> None:
        write(writer, 1, chunks)
        writer.finish("completed", timeout=60)

    with pytest.raises(RelayUnavailableError, match="acknowledges nothing any more"):
        go_on()
    assert time.monotonic() - began < 30
    stream = server.stream(name)
    assert stream is not None
    assert len(stream["connections"]) > 1


def test_a_slow_server_gets_everything(bare: MakeBare, client: MakeClient, name: str) -> None:
    server = bare("acks", "info", "slow")
    writer = client(server.url).open(name)
    write(writer, 0, 60)
    writer.finish("completed")
    assert server.log(name) == (numbers(60), "completed")


def test_pings_are_answered_and_heartbeats_sent_while_the_generator_waits(
    bare: MakeBare, client: MakeClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{CONNECTION}.HEARTBEAT_INTERVAL", 0.5)
    server = bare()
    writer = client(server.url).open(name)
    writer.write("0")
    # It pings each second, and gives up on who has not answered for two.
    time.sleep(4)
    writer.write("1")
    writer.finish("completed")
    stream = server.stream(name)
    assert stream is not None
    assert (stream["chunks"], len(stream["connections"])) == (["0", "1"], 1)
    assert stream["heartbeats"] >= 2


def test_whatever_fails_a_connection_it_is_made_anew(
    bare: MakeBare, client: MakeClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = bare("info")
    writer = client(server.url).open(name)
    writer.write("0")
    eventually(lambda: server.log(name)[0])
    take = Progress.take
    failures = iter([KeyError("a fault of ours")])

    def fail_once(progress: Progress, packet: Packet) -> None:
        for failure in failures:
            raise failure
        take(progress, packet)

    monkeypatch.setattr(Progress, "take", fail_once)
    writer.write("1")
    writer.finish("completed", timeout=30)
    assert server.log(name) == (["0", "1"], "completed")


# -- refusals


def test_the_reason_of_a_refusal_is_in_the_error(
    bare: MakeBare, client: MakeClient, name: str
) -> None:
    server = bare("refuse=your plan has ended")
    with pytest.raises(RelayRefusedError, match="your plan has ended"):
        client(server.url).open(name)


def test_a_wrong_key(bare: MakeBare, ours: Ours, client: MakeClient, name: str) -> None:
    with pytest.raises(RelayRefusedError, match="invalid API key"):
        client(bare().url, api_key="wrong").open(name)
    with pytest.raises(RelayRefusedError, match="the API key is not valid for this relay"):
        client(ours.url, api_key="wrong").open(name)


def test_a_stream_that_exists(bare: MakeBare, ours: Ours, client: MakeClient, name: str) -> None:
    here = client(ours.url)
    first = here.open(name)
    with pytest.raises(StreamBusyError):
        client(ours.url).open(name)
    with pytest.raises(StreamBusyError):
        here.open(name)
    first.write("1")
    first.finish("completed")
    with pytest.raises(StreamClosedError, match="completed"):
        client(ours.url).open(name)

    server = bare("info")
    writer = client(server.url).open(name)
    writer.write("1")
    eventually(lambda: server.log(name)[0])
    with pytest.raises(RelayRefusedError, match="it has 1 chunks of another producer"):
        client(server.url).open(name)


def test_a_retry_overwrites(bare: MakeBare, ours: Ours, client: MakeClient, name: str) -> None:
    hosted = bare("info")
    for server in (hosted, ours):
        first = client(server.url).open(name)
        first.write('"old"')
        first.release(60)
        second = client(server.url).open(name, again=1)
        second.write('"new"')
        second.finish("completed")
    assert hosted.log(name) == (['"new"'], "completed")
    page = ours.relay.read(Read(name, 0, 0, 10))
    assert page is not None
    assert (page.state.attempt, page.state.end) == (2, "completed")
    assert [entry.data for entry in page.entries] == [b'"new"']


def test_one_that_was_taken_over_from_stops(ours: Ours, client: MakeClient, name: str) -> None:
    zombie = client(ours.url).open(name)
    zombie.write("1")
    eventually(lambda: ours.log(name)[0])
    ours.relay.call(Claim(name, "0badcafe", overwrite=True))
    with pytest.raises(StreamFencedError):
        write(zombie, 1, 1000, pause=0.01)


def test_a_stop_at_our_relay_reaches_the_worker(ours: Ours, client: MakeClient, name: str) -> None:
    interrupted = threading.Event()
    writer = client(ours.url).open(name, on_interrupt=interrupted.set)
    ours.relay.call(Stop(name))
    assert interrupted.wait(20)
    assert writer.stop_asked
    writer.finish("stopped")
    assert ours.log(name) == ([], "stopped")


def test_a_stop_by_another_process_of_this_machine(
    bare: MakeBare, client: MakeClient, name: str
) -> None:
    server = bare()
    interrupted = threading.Event()
    writer = client(server.url).open(name, on_interrupt=interrupted.set)
    web = client(server.url).relay
    assert web.call(Stop(name)).kind == "asked"
    assert interrupted.wait(20)
    writer.finish("stopped")
    # The service has no word for it.
    assert server.log(name) == ([], "completed")
    assert not client(server.url).open(name, again=1).stop_asked
