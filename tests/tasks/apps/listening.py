"""Stream tasks that read from a socket, as from an LLM: they wait for as long as it is silent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

from celery import shared_task

from streamstraight_celery import RelayUnavailableError, StreamTask, stream_task
from tests.tasks.apps.marks import leave_mark


def lines_from(port: int) -> Iterator[str]:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for line in connection.makefile("rb"):
            yield line.decode().rstrip("\n")


async def lines_from_asynchronously(port: int) -> AsyncIterator[str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while line := await reader.readline():
            yield line.decode().rstrip("\n")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@stream_task
def listening(port: int, mark: str = "") -> Iterator[str]:
    """Yields each line as it comes; leaves marks when it begins and in its `finally`."""
    leave_mark(f"{mark}:begun")
    try:
        yield from lines_from(port)
    finally:
        leave_mark(f"{mark}:finally")


@stream_task
async def listening_asynchronously(port: int, mark: str = "") -> AsyncIterator[str]:
    leave_mark(f"{mark}:begun")
    try:
        async for line in lines_from_asynchronously(port):
            yield line
    finally:
        leave_mark(f"{mark}:finally")


@stream_task
def catching_all(port: int, mark: str = "") -> Iterator[str]:
    """Catches every `Exception`, as LLM code does."""
    try:
        yield from lines_from(port)
    except Exception as error:
        leave_mark(f"{mark}:caught", repr(error))
        yield "an apology"
    finally:
        leave_mark(f"{mark}:finally")


@stream_task
def failing_to_close(port: int) -> Iterator[str]:
    """Waits, or talks when there is no port; its clean-up fails."""
    try:
        yield "beginning"
        while not port:
            yield "on"
        yield from lines_from(port)
    finally:
        raise OSError("cannot close")


@stream_task
def talkative(mark: str = "") -> Iterator[int]:
    """Never ends and never waits."""
    try:
        number = 0
        while True:
            yield number
            number += 1
    finally:
        leave_mark(f"{mark}:finally")


@stream_task
async def talkative_asynchronously(mark: str = "") -> AsyncIterator[int]:
    try:
        number = 0
        while True:
            yield number
            number += 1
            await asyncio.sleep(0)
    finally:
        leave_mark(f"{mark}:finally")


@stream_task(soft_time_limit=1)
def hasty(port: int, mark: str = "") -> Iterator[str]:
    try:
        yield "beginning"
        yield from lines_from(port)
    finally:
        leave_mark(f"{mark}:finally")


@stream_task(soft_time_limit=1)
async def hasty_asynchronously(port: int, mark: str = "") -> AsyncIterator[str]:
    try:
        yield "beginning"
        async for line in lines_from_asynchronously(port):
            yield line
    finally:
        leave_mark(f"{mark}:finally")


def wait_in_encoder(port: Any) -> str:
    return next(lines_from(port), "")


@stream_task(soft_time_limit=1, encoder=wait_in_encoder)
def hasty_encoder(port: int) -> Iterator[int]:
    yield port


@stream_task(time_limit=1)
def killed(port: int) -> Iterator[str]:
    yield "beginning"
    yield from lines_from(port)


@stream_task(acks_late=True)
def late(port: int, mark: str) -> Iterator[str]:
    """Counts how often it has been begun."""
    number = leave_mark(f"{mark}:begun")
    yield f"attempt {number}"
    yield from lines_from(port)


@stream_task(
    bind=True, autoretry_for=(RelayUnavailableError,), max_retries=None, default_retry_delay=0.3
)
def persistent(self: StreamTask[Any], port: int) -> Iterator[str]:
    """Begins anew when the relay was lost."""
    yield f"{'again' if self.request.retries else 'first'}"
    if not self.request.retries:
        yield from lines_from(port)


@stream_task
def breaking(port: int) -> Iterator[str]:
    for line in lines_from(port):
        if line == "break":
            raise ValueError("it broke")
        yield line


@shared_task
def occupied(port: int) -> str:
    """A plain task that keeps a pool process busy."""
    return "".join(lines_from(port))
