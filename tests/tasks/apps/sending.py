"""Stream tasks that send their chunks themselves, from wherever they are."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from streamstraight_celery import StreamTask, current_stream, stream_task
from streamstraight_celery.errors import StreamClosedError, StreamStopped
from tests.tasks.apps.listening import lines_from, lines_from_asynchronously
from tests.tasks.apps.marks import leave_mark
from tests.tasks.apps.project import app


def call_back(chunk: Any) -> None:
    """A callback that knows nothing of the task."""
    current_stream().send(chunk)


@stream_task(bind=True)
def mixed(self: StreamTask[Any], text: str) -> Iterator[Any]:
    """Every other word is sent."""
    for number, word in enumerate(text.split()):
        if number % 2:
            call_back(word)
        else:
            yield word
    return self.stream.id


@stream_task
async def mixed_asynchronously(text: str) -> AsyncIterator[Any]:
    for number, word in enumerate(text.split()):
        match number % 4:
            case 0:
                yield word
            case 1:
                await current_stream().asend(word)
            case 2:
                call_back(word)
            case _:
                await asyncio.to_thread(call_back, word)


@stream_task(sends=True)
def plain(text: str) -> dict[str, int]:
    for word in text.split():
        call_back(word)
    return {"words": len(text.split())}


@stream_task(sends=True)
async def coroutine(text: str) -> dict[str, int]:
    for word in text.split():
        await current_stream().asend(word)
    return {"words": len(text.split())}


class Sends(StreamTask):
    name = "sends"
    sends = True

    def run(self, text: str) -> None:
        for word in text.split():
            self.stream.send(word)


by_class = app.register_task(Sends())


@stream_task(sends=True, bind=True)
def from_threads(self: StreamTask[Any], threads: int, chunks: int) -> None:
    """Sends from plain threads, all at once."""

    def work(thread: int) -> None:
        for number in range(chunks):
            self.stream.send([thread, number])

    started = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for each in started:
        each.start()
    for each in started:
        each.join()


@stream_task(sends=True)
def reading(port: int, mark: str) -> None:
    """Reads, as an LLM's client does, and sends from its callback."""
    try:
        for line in lines_from(port):
            call_back(line)
    finally:
        leave_mark(f"{mark}:finally")


@stream_task(sends=True)
async def reading_asynchronously(port: int, mark: str) -> None:
    try:
        async for line in lines_from_asynchronously(port):
            await current_stream().asend(line)
    finally:
        leave_mark(f"{mark}:finally")


def read(port: int, mark: str, send: Callable[[Any], object]) -> None:
    try:
        for line in lines_from(port):
            send(line)
    finally:
        leave_mark(f"{mark}:finally")


@stream_task(sends=True, bind=True)
def reading_in_thread(self: StreamTask[Any], port: int, mark: str) -> None:
    """The one that sends is a thread of the task's own."""
    thread = threading.Thread(target=lambda: read(port, mark, self.stream.send))
    thread.start()
    thread.join()


@stream_task
def reading_in_executor(port: int, mark: str) -> Iterator[str]:
    """Yields, while a tool in an executor sends."""
    with ThreadPoolExecutor() as executor:
        yield "calling a tool"
        executor.submit(read, port, mark, current_stream().send).result()


@stream_task
async def reading_beside_loop(port: int, mark: str) -> AsyncIterator[str]:
    yield "calling a tool"
    await asyncio.to_thread(read, port, mark, call_back)


@stream_task
async def reading_in_asyncio_task(port: int, mark: str) -> AsyncIterator[str]:
    """The one that sends is an asyncio task, for which nobody waits."""
    yield "calling a tool"

    async def work() -> None:
        try:
            async for line in lines_from_asynchronously(port):
                await current_stream().asend(line)
        finally:
            leave_mark(f"{mark}:finally")

    working = asyncio.create_task(work())
    await asyncio.Event().wait()
    await working


@stream_task(sends=True)
def swallowing(chunk: str) -> str:
    """Catches what a chunk that cannot be sent raises, as LangChain does with its callbacks."""
    call_back("before")
    try:
        call_back(unsendable(chunk))
    except Exception:
        return "swallowed"
    return "sent"


def unsendable(kind: str) -> Any:
    return {"object": object(), "large": "x" * 100_000}[kind]


@stream_task(bind=True)
def numbering_in_thread(self: StreamTask[Any], mark: str) -> Iterator[Any]:
    """A thread that never reads sends for ever; the generator waits for it."""

    def work() -> None:
        try:
            for number in itertools.count():
                self.stream.send(number)
                time.sleep(0.001)
        except BaseException as error:
            leave_mark(f"{mark}:raised", type(error).__name__)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    yield "never"


FINISHED = "workflow_finished"


@stream_task(bind=True)
def telling(self: StreamTask[Any], port: int, mark: str) -> Iterator[Any]:
    """Tells its readers at last why it ends."""
    try:
        yield "beginning"
        yield from lines_from(port)
    finally:
        leave_mark(f"{mark}:ending", self.stream.ending)
        self.stream.send({"type": FINISHED, "status": self.stream.ending})


@stream_task(bind=True)
async def telling_asynchronously(self: StreamTask[Any], port: int, mark: str) -> AsyncIterator[Any]:
    try:
        yield "beginning"
        async for line in lines_from_asynchronously(port):
            yield line
    finally:
        leave_mark(f"{mark}:ending", self.stream.ending)
        await self.stream.asend({"type": FINISHED, "status": self.stream.ending})


@stream_task(sends=True, bind=True)
def telling_afterwards(self: StreamTask[Any], port: int, mark: str) -> None:
    """Catches the stop."""
    self.stream.send("beginning")
    try:
        read(port, mark, self.stream.send)
    except StreamStopped:
        leave_mark(f"{mark}:ending", self.stream.ending)
    self.stream.send({"type": FINISHED, "status": self.stream.ending})


@stream_task(bind=True)
def chattering(self: StreamTask[Any], mark: str) -> Iterator[str]:
    """Goes on and on when it is stopped."""
    try:
        yield "beginning"
        threading.Event().wait()
    finally:
        with contextlib.suppress(StreamClosedError):
            for number in itertools.count():
                self.stream.send(f"last {number}")
        leave_mark(f"{mark}:finally")


@stream_task(bind=True)
def refusing(self: StreamTask[Any], mark: str) -> Iterator[Any]:
    try:
        yield "beginning"
        yield object()
    finally:
        leave_mark(f"{mark}:ending", self.stream.ending)


@stream_task(bind=True)
def raising(self: StreamTask[Any], mark: str) -> Iterator[Any]:
    """Fails by itself."""
    try:
        yield "beginning"
        raise ValueError("by itself")
    finally:
        leave_mark(f"{mark}:ending", self.stream.ending)
        self.stream.send("the last")


@stream_task(bind=True)
def planning(self: StreamTask[Any], topic: str) -> Iterator[Any]:
    """The first task of a run, as in the how-to."""
    yield {"type": "step", "name": "plan"}
    raise self.replace(writing.s(topic))


@stream_task(bind=True, on_redelivery="resume")
def writing(self: StreamTask[Any], topic: str) -> Iterator[Any]:
    yield {"type": "step", "name": "write"}
    self.stream.send({"type": "text", "text": f"About {topic}."})


class Keeps(StreamTask):
    """Makes its client once a process, as Celery's documentation has it."""

    name = "keeps"
    client: object = None

    async def run(self) -> AsyncIterator[str]:
        if self.client is None:
            self.client = object()
            yield "made"
        else:
            yield "kept"


keeps = app.register_task(Keeps())
