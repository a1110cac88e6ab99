"""What the parent process has to tell the relay, without waiting for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest
from celery.signals import worker_shutdown

from streamstraight_celery import RelayUnavailableError
from streamstraight_celery.errors import ConfigurationError
from streamstraight_celery.producing.request_queue import RequestQueue
from streamstraight_celery.relays.base import Page, Relay
from streamstraight_celery.relays.requests import Answer, Read, Request, Stop


class SlowRelay(Relay):
    """Does not answer until it is let, and loses the first `losses` requests."""

    def __init__(self, losses: int = 0) -> None:
        self.gate = threading.Event()
        self.losses = losses
        self.carried_out: list[Request] = []
        self.closed = 0

    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        self.gate.wait(30)
        if self.losses:
            self.losses -= 1
            raise RelayUnavailableError("away")
        self.carried_out += requests
        return [Answer("ended") for _ in requests]

    def read(self, read: Read) -> Page | None:
        raise AssertionError(read)

    def close(self) -> None:
        self.closed += 1


def test_asking_does_not_wait() -> None:
    relay = SlowRelay()
    request_queue = RequestQueue(lambda: relay, 30)
    asked = [request_queue.ask(Stop(str(number))) for number in range(100)]
    assert not any(future.done() for future in asked)

    relay.gate.set()

    assert [future.result(30).kind for future in asked] == ["ended"] * 100
    assert relay.carried_out == [Stop(str(number)) for number in range(100)]


def test_asks_again_until_the_relay_answers() -> None:
    relay = SlowRelay(losses=3)
    relay.gate.set()

    assert RequestQueue(lambda: relay, 30).ask(Stop("s")).result(30).kind == "ended"
    assert relay.carried_out == [Stop("s")]


def test_gives_up_in_the_end() -> None:
    relay = SlowRelay(losses=1_000_000)
    relay.gate.set()

    with pytest.raises(RelayUnavailableError):
        RequestQueue(lambda: relay, 0.2).ask(Stop("s")).result(30)


@pytest.mark.parametrize("broken", ["opening", "asking"])
def test_what_a_relay_must_not_raise_is_one_request_s_failure(broken: str) -> None:
    relay = SlowRelay()
    relay.gate.set()
    failures = [ConfigurationError("there is no cluster")]

    class Broken(SlowRelay):
        def execute(self, requests: Sequence[Request]) -> list[Answer]:
            if failures:
                raise failures.pop()
            return relay.execute(requests)

    def opened() -> Relay:
        if broken == "opening" and failures:
            raise failures.pop()
        return Broken()

    request_queue = RequestQueue(opened, 30)
    with pytest.raises(ConfigurationError):
        request_queue.ask(Stop("first")).result(30)
    assert request_queue.ask(Stop("second")).result(30).kind == "ended"


def test_does_not_gather_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamstraight_celery.producing.request_queue.MOST_WAITING", 2)
    relay = SlowRelay()
    request_queue = RequestQueue(lambda: relay, 30)
    asked = [request_queue.ask(Stop(str(number))) for number in range(5)]

    with pytest.raises(RelayUnavailableError, match="too many"):
        asked[-1].result(30)
    relay.gate.set()
    assert asked[0].result(30).kind == "ended"


def test_its_thread_and_connection_end_with_the_work() -> None:
    relay = SlowRelay()
    relay.gate.set()
    request_queue = RequestQueue(lambda: relay, 30)
    for _ in range(2):
        request_queue.ask(Stop("s")).result(30)
        request_queue.flush(30)
    assert relay.closed == 2
    assert "stream-request_queue" not in [thread.name for thread in threading.enumerate()]


def test_a_shutdown_waits_only_shortly() -> None:
    relay = SlowRelay()
    request_queue = RequestQueue(lambda: relay, 30)
    request_queue.ask(Stop("s"))
    began = time.monotonic()
    request_queue.flush(0.05)
    assert time.monotonic() - began < 10
    relay.gate.set()
    request_queue.flush(30)


def test_a_worker_that_shuts_down_tells_the_rest() -> None:
    relay = SlowRelay(losses=2)
    relay.gate.set()
    request_queue = RequestQueue(lambda: relay, 30)
    asked = request_queue.ask(Stop("s"))

    worker_shutdown.send(sender=None)

    assert asked.done()
    assert relay.carried_out == [Stop("s")]


def test_knows_of_a_relay_that_does_not_answer() -> None:
    relay = SlowRelay(losses=2)
    relay.gate.set()
    request_queue = RequestQueue(lambda: relay, 0)
    assert not request_queue.unanswered

    for _ in range(2):
        with pytest.raises(RelayUnavailableError):
            request_queue.ask(Stop("s")).result(30)
        assert request_queue.unanswered

    request_queue.ask(Stop("s")).result(30)
    assert not request_queue.unanswered
