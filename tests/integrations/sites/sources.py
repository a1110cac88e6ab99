"""What the sites stream, and their Celery tasks."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from streamstraight_celery import PublicError, stream_task

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
        "stream_writing": True,
        "stream_max_chunk_bytes": 1_000_000,
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


STEPS = [{"type": "step", "number": number} for number in range(5)]


def steps(then: str = "") -> Iterator[dict[str, Any]]:
    """`STEPS`, the last four behind the gate; `then` fails or stalls before the last one."""
    yield STEPS[0]
    while not gate().exists():
        time.sleep(0.01)
    yield from STEPS[1:4]
    if then == "fail":
        raise PublicError("out of words", code="as-told")
    while then == "wait":
        time.sleep(0.01)
        yield {"type": "end", "number": -1}
    yield STEPS[4]


def boxed(chunk: Any) -> object:
    """An envelope: what an existing page expects; odd numbers are not for it."""
    return None if chunk["number"] % 2 else {"event": chunk["type"], "data": chunk["number"]}


# What routes of the sites' own ask of `respond`, by the first part of their path.
WAYS: dict[str, Any] = {
    "plain": {},
    "named": {"event": "type", "headers": {"X-Own": "yes"}, "ping": 0.1},
    "boxed": {"envelope": boxed},
}


def watched(hubs: Any) -> dict[str, int]:
    """How many readers the hubs of the process have, and of how many streams."""
    feeds = [feed for feed in hubs.every_feed() if feed.readers]
    return {"readers": sum(len(feed.readers) for feed in feeds), "streams": len(feeds)}


def lines(chunks: Any) -> Iterator[str]:
    for chunk in chunks:
        yield f"{chunk['number']}\n"


async def alines(chunks: Any) -> AsyncIterator[str]:
    async for chunk in chunks:
        yield f"{chunk['number']}\n"


@stream_task
def answer(prompt: str) -> Iterator[str]:
    yield from prompt.split()
