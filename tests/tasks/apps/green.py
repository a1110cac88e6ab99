"""Plain tasks that share their process, and so its OS thread, with stream tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from celery import current_app, shared_task

from streamstraight_celery import publish, read_stream, stream_task
from tests.tasks.apps.marks import leave_mark


@stream_task
async def with_helpers(text: str) -> AsyncIterator[str]:
    """Hands work to other threads, as async clients do."""
    for word in text.split():
        await asyncio.get_running_loop().getaddrinfo("localhost", 80)
        yield await asyncio.to_thread(word.upper)


@shared_task
def uses_asyncio() -> str:
    """As `async_to_sync` does: fails where a loop seems to run already."""

    async def value() -> str:
        await asyncio.sleep(0.01)
        return "fine"

    return asyncio.run(value())


@shared_task
def uses_orm() -> int:
    """Django's database layer refuses to work where an event loop seems to run."""
    from django.conf import settings
    from django.db import connection

    if not settings.configured:
        databases = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
        settings.configure(DATABASES=databases)
    with connection.cursor() as cursor:
        return int(cursor.execute("SELECT 6 * 7").fetchone()[0])


@shared_task
def reads(stream_id: str, mark: str) -> list[Any]:
    """Reads a stream from Redis while it is written; leaves a mark at the first chunk."""
    chunks = []
    with read_stream(stream_id, app=current_app._get_current_object()) as stream:
        for chunk in stream:
            if not chunks:
                leave_mark(mark)
            chunks.append(chunk)
    return chunks


async def _words() -> AsyncIterator[str]:
    for word in ["from", "a", "task"]:
        await asyncio.sleep(0)
        yield word


@shared_task
def publishes() -> list[Any]:
    """Produces a stream beside the task, from an async generator."""
    publication = publish(_words(), app=current_app._get_current_object())
    assert publication.wait(30)
    return list(read_stream(publication.id, app=current_app._get_current_object()))
