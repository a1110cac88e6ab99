"""Real providers' streams through the real clients, a real worker, Redis and the relay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from streamstraight_celery.codecs import encode_json
from tests.conftest import eventually
from tests.recordings.reader import read_dropping
from tests.support.openai_errors import CUT_OFF_MESSAGE
from tests.support.providers import RECORDINGS, ReplayProvider, recorded_events

FILES = sorted(RECORDINGS.glob("*.sse"))
pytestmark = pytest.mark.skipif(not FILES, reason="the recordings are not here")


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60) as client:
        yield client


def endpoint(path: Path) -> str:
    if path.name.startswith("anthropic"):
        return "messages"
    return "chat" if "chat" in path.name else "responses"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize(("suffix", "by"), [("", "offset"), ("_async", "header")])
def test_a_recorded_stream_arrives_whole(
    project: Any, client: httpx.Client, path: Path, suffix: str, by: str
) -> None:
    name = endpoint(path)
    ref = project.TASKS[name + suffix].stream(f"{path.stem}?delay=0.001").ref()
    reading = read_dropping(client, ref, every=7, by=by)

    assert reading.end is not None
    assert reading.end["endReason"] == "completed"
    # What the client library itself makes of the recording, read without us.
    direct = [json.loads(encode_json(event)) for event in project.GENERATORS[name](path.stem)]
    assert reading.chunks == direct
    # And what was on the wire, but for the events that the library keeps to itself.
    wire = [json.loads(event) for event in recorded_events(path)]
    assert reading.chunks == [event for event in wire if event.get("type") != "ping"]
    if len(reading.chunks) > 100:
        assert reading.connections > 5

    # A second reader, later, from the start, in one request.
    headers = {"Authorization": f"Bearer {ref['token']}"}
    answer = client.get(ref["url"], headers=headers)
    assert answer.json() == reading.chunks
    assert answer.headers["Stream-Closed"] == "true"


@pytest.mark.parametrize("name", ["responses", "responses_async"])
def test_a_stop_closes_the_connection_to_the_provider(
    project: Any, provider: ReplayProvider, client: httpx.Client, name: str
) -> None:
    before = provider.open_connections
    handle = project.TASKS[name].stream("openai-responses-reasoning-long?hold=20")
    reading = None
    with client.stream(
        "GET", handle.url, params={"live": "sse", "offset": "-1"},
        headers={"Authorization": f"Bearer {handle.token()}"},
    ) as response:  # fmt: skip
        assert response.status_code == 200, (response.status_code, response.read())
        for line in response.iter_lines():
            if line.startswith("data:[") and reading is None:
                reading = line
                assert provider.wait_held(timeout=30)
                assert handle.stop() is True
            if "streamClosed" in line:
                assert json.loads(line.removeprefix("data:"))["endReason"] == "stopped"
    assert provider.wait_closed(timeout=30), [(e.state, e.events) for e in provider.exchanges]
    # Another test's may have gone in the meantime.
    eventually(lambda: provider.open_connections <= before)
    assert handle.result.get(timeout=30)["end_reason"] == "stopped"


@pytest.mark.parametrize("name", ["responses", "responses_async"])
def test_a_provider_that_breaks_off_is_an_error_for_readers(
    project: Any, client: httpx.Client, name: str
) -> None:
    handle = project.TASKS[name].stream("openai-responses-reasoning-long?cut=20")
    reading = read_dropping(client, dict(handle.ref()), every=7)
    assert len(reading.chunks) == 20
    assert reading.end is not None
    assert reading.end["endReason"] == "producer-error"
    assert reading.end["error"] == {
        "code": "producer-error",
        "message": "The answer could not be completed. Please try again.",
    }
    with pytest.raises(Exception, match=CUT_OFF_MESSAGE):
        handle.result.get(timeout=30)
