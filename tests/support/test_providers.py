"""The replaying provider, read by the real client libraries."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.conftest import ROOT, eventually
from tests.support.providers import (
    RECORDINGS,
    Replay,
    ReplayProvider,
    recorded_events,
    split_events,
)

# As counted where the recordings come from; `[DONE]` is no event.
EVENTS = {
    "anthropic-sdk-tool-use": 15,
    "anthropic-thinking": 118,
    "openai-chat-text": 11,
    "openai-responses-background": 17,
    "openai-responses-background-starting-after-0": 16,
    "openai-responses-code-image-big": 270,
    "openai-responses-reasoning-long": 676,
    "openai-responses-text-short": 15,
    "openai-responses-tool-call": 11,
}
SHORT = "openai-responses-text-short"

pytestmark = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings beside the project")


@pytest.fixture
def provider() -> Iterator[ReplayProvider]:
    with ReplayProvider() as provider:
        yield provider


@pytest.fixture
def client(provider: ReplayProvider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=provider.base_url, api_key="x", max_retries=0) as client:
        yield client


def request(model: str) -> dict[str, Any]:
    """The arguments of the client's call for that recording."""
    if model.startswith("openai-responses"):
        return {"model": model, "input": "hello", "stream": True}
    messages = [{"role": "user", "content": "hello"}]
    limit = {"max_tokens": 9} if model.startswith("anthropic") else {}
    return {"model": model, "messages": messages, "stream": True, **limit}


def read(base_url: str, model: str) -> list[str]:
    options: dict[str, Any] = {"base_url": base_url, "api_key": "x", "max_retries": 0}
    if model.startswith("anthropic"):
        with anthropic.Anthropic(**options) as claude:
            return [
                event.to_json(indent=None) for event in claude.messages.create(**request(model))
            ]
    with openai.OpenAI(**options) as gpt:
        chat = model.startswith("openai-chat")
        create: Any = gpt.chat.completions.create if chat else gpt.responses.create
        return [event.to_json(indent=None, warnings=False) for event in create(**request(model))]


async def aread(base_url: str, model: str) -> list[str]:
    options: dict[str, Any] = {"base_url": base_url, "api_key": "x", "max_retries": 0}
    if model.startswith("anthropic"):
        async with anthropic.AsyncAnthropic(**options) as claude:
            messages = await claude.messages.create(**request(model))
            return [event.to_json(indent=None) async for event in messages]
    async with openai.AsyncOpenAI(**options) as gpt:
        chat = model.startswith("openai-chat")
        create: Any = gpt.chat.completions.create if chat else gpt.responses.create
        events = await create(**request(model))
        return [event.to_json(indent=None, warnings=False) async for event in events]


def parsed(events: list[str]) -> list[Any]:
    """As JSON values; without pings, which the anthropic client keeps to itself."""
    return [event for event in map(json.loads, events) if event.get("type") != "ping"]


def test_every_recording_is_known() -> None:
    assert {path.stem for path in RECORDINGS.glob("*.sse")} == set(EVENTS)


@pytest.mark.parametrize("model", EVENTS)
def test_recorded_events_are_the_recordings_payloads(model: str) -> None:
    events = recorded_events(RECORDINGS / f"{model}.sse")
    assert len(events) == EVENTS[model]
    assert all(isinstance(json.loads(event), dict) for event in events)


def test_events_are_split_on_the_three_line_ends_of_sse_only(tmp_path: Path) -> None:
    recording = (
        'data: "a\u2028b\x85c"\n\nid: 1\r\ndata:x\r\ndata: y\r\n\r\ndata:  z\r\rdata: [DONE]'
    )
    (tmp_path / "r.sse").write_bytes(recording.encode())
    assert recorded_events(tmp_path / "r.sse") == ['"a\u2028b\x85c"', "x\ny", " z"]
    assert b"".join(split_events(recording.encode())) == recording.encode() + b"\n\n"


@pytest.mark.parametrize("write_bytes", [0, 7, 4096])
@pytest.mark.parametrize("model", EVENTS)
def test_the_real_client_reads_each_recording(model: str, write_bytes: int) -> None:
    with ReplayProvider(replay=Replay(write_bytes=write_bytes)) as provider:
        events = read(provider.base_url, model)
    assert parsed(events) == parsed(recorded_events(RECORDINGS / f"{model}.sse"))


@pytest.mark.parametrize("model", EVENTS)
async def test_the_real_async_client_reads_each_recording(
    provider: ReplayProvider, model: str
) -> None:
    events = await aread(provider.base_url, model)
    assert parsed(events) == parsed(recorded_events(RECORDINGS / f"{model}.sse"))


async def test_many_clients_at_once(provider: ReplayProvider) -> None:
    readers = [aread(provider.base_url, f"{SHORT}?delay=0.001") for _ in range(50)]
    lengths = {len(events) for events in await asyncio.gather(*readers)}
    assert lengths == {EVENTS[SHORT]}
    assert len(provider.exchanges) == 50


def test_what_was_asked_is_recorded(provider: ReplayProvider, client: openai.OpenAI) -> None:
    list(client.responses.create(**request(SHORT)))
    list(client.responses.create(**request(SHORT)))
    assert [(each.model, each.state, each.events) for each in provider.exchanges] == [
        (SHORT, "complete", EVENTS[SHORT])
    ] * 2
    assert provider.exchanges[0].request["input"] == "hello"
    assert provider.open_connections == 1  # the client kept it for the second request
    client.close()
    eventually(lambda: provider.open_connections == 0)


@pytest.mark.parametrize("events", [0, 3, EVENTS[SHORT]])
def test_hold_keeps_silent_until_released(
    provider: ReplayProvider, client: openai.OpenAI, events: int
) -> None:
    stream = iter(client.responses.create(**request(f"{SHORT}?hold={events}")))
    first = [next(stream) for _ in range(events)]
    assert provider.wait_held()
    assert provider.exchanges[0].events == events
    provider.release()
    assert len(first + list(stream)) == EVENTS[SHORT]
    assert provider.exchanges[0].state == "complete"


def test_a_client_that_closes_while_held_is_noticed(
    provider: ReplayProvider, client: openai.OpenAI
) -> None:
    stream = client.responses.create(**request(f"{SHORT}?hold=3"))
    next(iter(stream))
    assert provider.wait_held()
    assert not provider.wait_closed(timeout=0)
    stream.close()
    assert provider.wait_closed()
    assert (provider.exchanges[0].state, provider.exchanges[0].events) == ("client-closed", 3)
    eventually(lambda: provider.open_connections == 0)


async def test_an_async_client_that_is_cancelled_is_noticed(provider: ReplayProvider) -> None:
    reading = asyncio.ensure_future(aread(provider.base_url, f"{SHORT}?hold=2"))
    assert await asyncio.to_thread(provider.wait_held)
    reading.cancel()
    assert await asyncio.to_thread(provider.wait_closed)
    with pytest.raises(asyncio.CancelledError):
        await reading


def test_its_end_cuts_what_is_held(client: openai.OpenAI, provider: ReplayProvider) -> None:
    with ReplayProvider() as other, client.with_options(base_url=other.base_url) as reader:
        stream = iter(reader.responses.create(**request(f"{SHORT}?hold=1")))
        next(stream)
        assert other.wait_held()
    with pytest.raises((openai.APIError, httpx.HTTPError, RuntimeError)):
        next(stream)


@pytest.mark.parametrize("options", ["?delay=60", "?write_bytes=1"])
def test_a_client_that_closes_while_it_is_sent_to_is_noticed(
    provider: ReplayProvider, client: openai.OpenAI, options: str
) -> None:
    model = f"openai-responses-code-image-big{options}"
    stream = client.responses.create(**request(model))
    next(iter(stream))
    stream.close()
    assert provider.wait_closed()
    assert provider.exchanges[0].events < 270


def test_cut_ends_the_connection_in_the_middle(
    provider: ReplayProvider, client: openai.OpenAI
) -> None:
    stream = iter(client.responses.create(**request(f"{SHORT}?cut=4")))
    assert len([next(stream) for _ in range(4)]) == 4
    # The older clients let the error of their HTTP library through.
    with pytest.raises((openai.APIConnectionError, httpx.RemoteProtocolError)):
        next(stream)
    assert provider.exchanges[0].state == "cut"


@pytest.mark.parametrize(
    ("status", "error"), [(429, openai.RateLimitError), (500, openai.InternalServerError)]
)
def test_fail_answers_with_the_status(
    provider: ReplayProvider, client: openai.OpenAI, status: int, error: type[Exception]
) -> None:
    with pytest.raises(error, match="told to fail"):
        client.responses.create(**request(f"{SHORT}?fail={status}"))
    assert provider.exchanges[0].state == "failed"


def test_fail_is_the_anthropic_clients_error_too() -> None:
    with (
        ReplayProvider(replay=Replay(fail=429)) as provider,
        pytest.raises(anthropic.RateLimitError, match="told to fail"),
    ):
        read(provider.base_url, "anthropic-thinking")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "../x"}, r"no recording '\.\./x' among .*openai-chat-text"),
        ({"model": f"{SHORT}?speed=1"}, "no option 'speed'; there are write_bytes, delay"),
        ({"model": f"{SHORT}?hold=soon"}, "invalid literal for int"),
        ({"stream": False}, "ask with stream=true"),
    ],
)
def test_a_wrong_request_is_refused(
    client: openai.OpenAI, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(openai.APIStatusError, match=message):
        client.responses.create(**request(SHORT) | change)


def test_as_a_process_of_its_own() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.providers"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            base_url = process.stdout.readline().strip()
            with openai.OpenAI(base_url=base_url, api_key="x", max_retries=0) as client:
                stream = iter(client.responses.create(**request(f"{SHORT}?hold=1")))
                next(stream)
                eventually(lambda: _call(base_url, "GET", "exchanges")[0]["state"] == "held")
                _call(base_url, "POST", "release")
                assert len(list(stream)) == EVENTS[SHORT] - 1
        finally:
            process.terminate()


def _call(base_url: str, method: str, name: str) -> Any:
    url = f"{base_url.removesuffix('/v1')}/{name}"
    with urllib.request.urlopen(urllib.request.Request(url, method=method)) as response:
        return json.load(response)
