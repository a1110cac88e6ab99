"""What the sites stream, and their Celery tasks."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from streamstraight_celery import stream_task

SECRET = "a-secret-of-these-tests"
CHUNKS = [{"number": number} for number in range(5)]


def settings() -> dict[str, Any]:
    """Celery's, from the environment of the process."""
    return {
        "broker_url": os.environ.get("SITE_REDIS", "memory://"),
        "stream_relay_url": os.environ.get("SITE_REDIS", "memory://sites"),
        "stream_secret": SECRET,
        "stream_public_url": os.environ.get("SITE_URL", "http://127.0.0.1:8787"),
        "stream_lease": 1,
        "stream_reap_after": 0.5,
        "task_ignore_result": True,
    }


def gate() -> Path:
    """The file that lets the generators go on."""
    return Path(os.environ["SITE_GATE"])


def gated() -> Iterator[dict[str, int]]:
    yield CHUNKS[0]
    while not gate().exists():
        time.sleep(0.01)
    yield from CHUNKS[1:]


async def agated() -> AsyncIterator[dict[str, int]]:
    yield CHUNKS[0]
    while not await asyncio.to_thread(gate().exists):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    for chunk in CHUNKS[1:]:
        yield chunk


def lines(chunks: Any) -> Iterator[str]:
    for chunk in chunks:
        yield f"{chunk['number']}\n"


async def alines(chunks: Any) -> AsyncIterator[str]:
    async for chunk in chunks:
        yield f"{chunk['number']}\n"


@stream_task
def answer(prompt: str) -> Iterator[str]:
    yield from prompt.split()
