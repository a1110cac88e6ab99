"""What a handle can do: read, wait, stop, delete, also without blocking the event loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery import (
    StreamHandle,
    StreamNotFoundError,
    aactive_stream,
    aget_stream,
    alatest_stream,
    asend_stream_task,
    get_stream,
    read_stream,
)
from streamstraight_celery.errors import ConfigurationError, StreamExistsError, StreamNotEndedError
from streamstraight_celery.relays.requests import Claim
from streamstraight_celery.runtime import Runtime
from tests.tasks.apps import forms, paced
from tests.tasks.processes import PATIENCE, Worker


def queued(**options: Any) -> StreamHandle:
    """A stream whose task waits in a queue that nobody consumes."""
    return forms.bare.apply_stream(("one two",), queue="nobody", **options)


def test_a_handle_reads(app: Celery, prefork: Worker) -> None:
    handle = forms.bare.stream("one two three")

    assert list(handle) == ["one", "two", "three"]
    assert list(handle.read(type=str)) == ["one", "two", "three"]
    assert handle.get(timeout=PATIENCE)["chunks"] == 3


def test_also_in_the_loop_that_makes_it(app: Celery, prefork: Worker) -> None:
    assert [chunk for chunk in forms.bare.stream("one two")] == ["one", "two"]  # noqa: C416


async def test_without_blocking(app: Celery, prefork: Worker) -> None:
    handle = await forms.bare.astream("one two")

    assert [chunk async for chunk in handle] == ["one", "two"]
    assert [chunk async for chunk in handle.aread(type=str)] == ["one", "two"]
    assert (await handle.aget(timeout=PATIENCE))["chunks"] == 2
    assert (await handle.astate()).end == "completed"
    assert (await aget_stream(handle.id, app=app)).task_id == handle.task_id
    assert await handle.astop(wait=1) is False
    assert await handle.adelete() is True
    with pytest.raises(StreamNotFoundError):
        await aget_stream(handle.id, app=app)


async def test_conversations_without_blocking(app: Celery, mark: str) -> None:
    assert await aactive_stream(mark, app=app) is None
    handle = await forms.bare.aapply_stream(("one",), key=mark, queue="nobody")

    active = await aactive_stream(mark, app=app)
    assert active is not None
    assert active.id == handle.id
    await handle.astop()
    assert await aactive_stream(mark, app=app) is None
    latest = await alatest_stream(mark, app=app)
    assert latest is not None
    assert latest.id == handle.id
    assert (await forms.bare.conversation(mark).astream("one")).id != handle.id


async def test_by_name_without_blocking(app: Celery) -> None:
    handle = await asend_stream_task(forms.bare.name, ["one"], app=app, queue="nobody")
    assert handle.state().status == "queued"


async def test_transactions_belong_to_a_thread(app: Celery) -> None:
    with pytest.raises(ConfigurationError, match="sync_to_async"):
        await forms.bare.aapply_stream(("one",), on_commit=True)


def test_stop_waits_for_the_end(app: Celery, prefork: Worker, mark: str) -> None:
    handle = paced.paced.stream(1_000_000)
    next(iter(handle))

    assert handle.stop(wait=PATIENCE) is True
    assert handle.state().end == "stopped"
    assert handle.stop(wait=True) is False


def test_but_not_for_longer_than_it_is_told(app: Celery) -> None:
    handle = queued()
    # A producer that lives, and does not listen.
    assert Runtime.of(app).relay.call(Claim(handle.id, "aaaaaaaa", handle.task_id)).kind == "ok"

    with pytest.raises(StreamNotEndedError, match=r"not ended within 0\.05 s") as caught:
        handle.stop(wait=0.05)
    assert isinstance(caught.value, TimeoutError)
    assert handle.state().stop_asked


@pytest.mark.parametrize("wait", [-1, "5", float("nan"), None])
def test_a_wait_that_cannot_be_stops_nothing(app: Celery, wait: Any) -> None:
    handle = queued()
    with pytest.raises(ConfigurationError, match="number of seconds"):
        handle.stop(wait=wait)
    assert handle.state().status == "queued"


def test_a_deleted_stream_is_gone_for_everybody(app: Celery, mark: str) -> None:
    handle = queued()
    with pytest.raises(StreamNotEndedError, match="active"):
        handle.delete()
    handle.stop()

    assert handle.delete() is True

    assert handle.delete() is False
    with pytest.raises(StreamNotFoundError):
        get_stream(handle.id, app=app)
    with pytest.raises(StreamNotFoundError):
        list(read_stream(handle.id, app=app))


def test_its_task_does_not_run_when_a_worker_comes(app: Celery, prefork: Worker, mark: str) -> None:
    handle = forms.bare.apply_stream(("one",), countdown=1)
    handle.stop()
    handle.delete()

    result = handle.get(timeout=PATIENCE)

    assert (result["end_reason"], result["chunks"]) == ("stopped", 0)


def test_a_name_that_has_ended_is_used_again(app: Celery, prefork: Worker, mark: str) -> None:
    first = forms.bare.apply_stream(("one",), stream_id=f"chat-{mark}")
    assert list(first) == ["one"]
    with pytest.raises(StreamExistsError, match="or replace=True"):
        forms.bare.apply_stream(("two",), stream_id=f"chat-{mark}")

    second = forms.bare.apply_stream(("two",), stream_id=f"chat-{mark}", replace=True)

    assert list(second) == ["two"]
    assert get_stream(f"chat-{mark}", app=app).task_id == second.task_id


def test_but_not_one_that_is_active(app: Celery, mark: str) -> None:
    queued(stream_id=f"chat-{mark}")
    with pytest.raises(StreamExistsError, match="is active"):
        queued(stream_id=f"chat-{mark}", replace=True)


async def test_two_loops_at_once(app: Celery, prefork: Worker) -> None:
    handles = await asyncio.gather(*(forms.bare.astream(f"{n} end") for n in range(5)))

    async def chunks(handle: StreamHandle) -> list[Any]:
        return [chunk async for chunk in handle]

    found = await asyncio.gather(*map(chunks, handles))
    assert found == [[str(n), "end"] for n in range(5)]
