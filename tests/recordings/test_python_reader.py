"""Recordings of real providers, through the real client, a worker and the Python readers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pydantic
import pytest

from streamstraight_celery import StreamFailedError, aread_stream, read_stream
from streamstraight_celery.codecs import encode_json
from tests.recordings.test_recordings import FILES, endpoint
from tests.support.openai_errors import CUT_OFF_MESSAGE
from tests.support.providers import ReplayProvider

pytestmark = pytest.mark.skipif(not FILES, reason="the recordings are not here")
LONG = "openai-responses-reasoning-long"


async def collect(source: Any, **options: Any) -> list[Any]:
    async with aread_stream(source, **options) as stream:
        return [chunk async for chunk in stream]


def test_recorded_streams_arrive_whole_in_every_way(project: Any) -> None:
    for path in FILES:
        name = endpoint(path)
        handle = project.TASKS[name].stream(path.stem)
        direct = [json.loads(encode_json(event)) for event in project.GENERATORS[name](path.stem)]
        # Live, and then from the finished log.
        assert list(read_stream(handle.ref())) == direct
        assert list(read_stream(handle.id, app=project.app)) == direct
        assert asyncio.run(collect(handle.ref())) == direct
        assert asyncio.run(collect(handle.id, app=project.app)) == direct


class Event(pydantic.BaseModel):
    """What a consumer looks at in an event of the Responses API."""

    type: str
    delta: str | None = None
    response: dict[str, Any] | None = None


def test_recorded_events_as_a_type(project: Any) -> None:
    handle = project.TASKS["responses"].stream(LONG)
    with read_stream(handle.ref(), type=Event) as stream:
        events = list(stream)
    text = [e.delta or "" for e in events if e.type == "response.output_text.delta"]
    assert text
    assert events[-1].type == "response.completed"
    assert events[-1].response is not None
    parts = [part for item in events[-1].response["output"] for part in item.get("content") or []]
    assert "".join(text) == "".join(part["text"] for part in parts)


@pytest.mark.parametrize("direct", [False, True], ids=["http", "direct"])
def test_stop_closes_the_connection_to_the_provider(
    project: Any, provider: ReplayProvider, direct: bool
) -> None:
    handle = project.TASKS["responses"].stream(f"{LONG}?hold=20")
    reader = read_stream(handle.id, app=project.app) if direct else read_stream(handle.ref())
    with reader as stream:
        for _ in range(20):
            next(stream)
        assert provider.wait_held(timeout=30)
        stream.stop()
        assert list(stream) == []
        assert stream.end_reason == "stopped"
    assert provider.wait_closed(timeout=30)
    assert handle.result.get(timeout=30)["end_reason"] == "stopped"


def test_a_provider_that_breaks_off_is_an_error(project: Any) -> None:
    handle = project.TASKS["responses"].stream(f"{LONG}?cut=20")
    with read_stream(handle.ref()) as stream:
        assert len([next(stream) for _ in range(20)]) == 20
        with pytest.raises(StreamFailedError, match="could not be completed") as caught:
            next(stream)
        assert caught.value.code == "producer-error"
    with pytest.raises(Exception, match=CUT_OFF_MESSAGE):
        handle.result.get(timeout=30)
