"""A stream task in conversations, and 10 racing requests as a process of their own."""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from celery import Celery

from streamstraight_celery import StreamActiveError, stream_task
from tests.support.waiting import eventually


@stream_task
def answer(prompt: str) -> Iterator[str]:
    yield from prompt.split()


@dataclasses.dataclass
class Approval:
    approved: bool


@stream_task(bind=True)
def listen(self: Any, count: int, typed: bool = False) -> Iterator[Any]:
    """Repeats what it receives."""
    yield "ready"
    for _ in range(count):
        yield self.conversation.receive(type=Approval if typed else None)


@stream_task(bind=True)
async def alisten(self: Any, count: int) -> AsyncIterator[Any]:
    yield "ready"
    async for value in self.conversation.ainputs():
        yield value
        count -= 1
        if not count:
            return


@stream_task(bind=True)
def ask(self: Any, timeout: float | None = None) -> Iterator[Any]:
    yield "ready"
    answer = self.conversation.ask({"tool": "delete"}, type=Approval, timeout=timeout)
    yield answer.approved


@stream_task(bind=True)
async def aask(self: Any, timeout: float | None = None) -> AsyncIterator[Any]:
    yield "ready"
    answer = await self.conversation.aask({"tool": "delete"}, type=Approval, timeout=timeout)
    yield answer.approved


@stream_task(
    bind=True, on_redelivery="resume", autoretry_for=(ConnectionError,), default_retry_delay=0
)
def repeat(self: Any, count: int) -> Iterator[Any]:
    """Fails after each message, and goes on with the next."""
    while self.stream.sent < count:
        yield self.conversation.receive()
        raise ConnectionError


@stream_task(bind=True)
def lead(self: Any) -> Iterator[Any]:
    """Starts two others, one by its own conversation's methods."""
    self.conversation.stream(listen, 1, title="child")
    answer.stream("hi")
    yield "ready"
    yield self.conversation.receive()


@stream_task(bind=True)
def lead_later(self: Any) -> Iterator[Any]:
    """Receives after its child has."""
    child = self.conversation.stream(listen, 1)
    eventually(lambda: child.state().end)
    yield self.conversation.receive()


@stream_task(bind=True)
def counts_readers(self: Any) -> Iterator[int]:
    """How many read it, until somebody does."""
    readers = 0
    while not readers:
        readers = self.stream.watched
        time.sleep(0.05)
    yield readers


@stream_task
def endless() -> Iterator[str]:
    while True:
        yield "."
        time.sleep(0.05)


def make_app(broker: str, relay: str) -> Celery:
    app = Celery("conversations", broker=broker)
    app.conf.update(stream_relay_url=relay, stream_secret="a-secret-of-these-tests")
    app.conf.update(stream_lease=3, stream_reap_after=0.1)
    app.set_default()
    return app


def race(key: str, if_active: str, count: int, barrier: threading.Barrier) -> list[str]:
    """What `count` requests at once came to: ids of streams, "rejected", or an error."""
    outcomes: list[str] = []

    def ask() -> None:
        barrier.wait(60)
        try:
            outcomes.append(answer.conversation(key, if_active=if_active).stream("hi").id)  # type: ignore[arg-type]
        except StreamActiveError:
            outcomes.append("rejected")
        except Exception as error:
            outcomes.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


if __name__ == "__main__":
    url, key, if_active = sys.argv[1:]
    make_app(url, url)
    print("ready", flush=True)
    sys.stdin.readline()
    print("\n".join(race(key, if_active, 10, threading.Barrier(10))))
