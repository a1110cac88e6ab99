"""Stream tasks whose clean-up takes long, or that swallow whatever they can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

from celery.exceptions import SoftTimeLimitExceeded

from streamstraight_celery import stream_task
from tests.tasks.apps.listening import lines_from, lines_from_asynchronously
from tests.tasks.apps.marks import leave_mark


@stream_task
def waits_for_threads(port: int, other: int, mark: str) -> Iterator[str]:
    """As agents do: closing it takes as long as the call in the other thread."""
    with ThreadPoolExecutor() as pool:
        call = pool.submit(lambda: list(lines_from(other)))
        yield "beginning"
        yield from lines_from(port)
        yield from call.result()
    leave_mark(f"{mark}:unreachable")


@stream_task
async def waits_for_threads_asynchronously(port: int, other: int, mark: str) -> AsyncIterator[str]:
    call = asyncio.ensure_future(asyncio.to_thread(lambda: list(lines_from(other))))
    try:
        yield "beginning"
        async for line in lines_from_asynchronously(port):
            yield line
    finally:
        await asyncio.shield(call)
        leave_mark(f"{mark}:finally")


@stream_task(soft_time_limit=1)
def retries_on_anything(port: int, mark: str) -> Iterator[str]:
    """As LLM clients do: takes every `Exception` for a connection to be made again."""
    yield "beginning"
    while True:
        try:
            yield from lines_from(port)
        except Exception as error:
            leave_mark(f"{mark}:caught", repr(error))


@stream_task(soft_time_limit=1)
async def retries_on_anything_asynchronously(port: int, mark: str) -> AsyncIterator[str]:
    yield "beginning"
    while True:
        try:
            async for line in lines_from_asynchronously(port):
                yield line
        except Exception as error:
            leave_mark(f"{mark}:caught", repr(error))


@stream_task(soft_time_limit=1)
def apologizes(port: int) -> Iterator[str]:
    """Catches Celery's exception by its name, as Celery's documentation has it."""
    try:
        yield from lines_from(port)
    except SoftTimeLimitExceeded:
        yield "out of time"
