"""The real `openai` client, with our relay for its provider."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from streamstraight_celery import StreamHandle
from streamstraight_celery.codecs import encode_json
from tests.peers import app as tasks
from tests.peers.processes import Dictation
from tests.support.openai_errors import CUT_OFF, CUT_OFF_MESSAGE
from tests.support.providers import RECORDINGS, ReplayProvider, recorded_events
from tests.support.proxy import Proxy

FILES = sorted(RECORDINGS.glob("openai-*.sse"))
TEXT = RECORDINGS / "openai-responses-text-short.sse"
pytestmark = pytest.mark.skipif(not FILES, reason="the recordings are not here")


@pytest.fixture
def client_of(proxy: Proxy) -> Iterator[Callable[[StreamHandle], OpenAI]]:
    """Makes clients whose provider is one stream of ours."""
    clients: list[OpenAI] = []

    def make(handle: StreamHandle) -> OpenAI:
        base_url, key = handle.sse_base_url, handle.token(scopes=["read"])
        clients.append(OpenAI(base_url=base_url, api_key=key, max_retries=0))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def is_chat(path: Path) -> bool:
    return "chat" in path.name


def relay(provider: ReplayProvider, model: str, chat: bool) -> StreamHandle:
    """Have the worker relay a recording."""
    task: Any = tasks.chat if chat else tasks.responses
    handle: StreamHandle = task.stream(provider.base_url, model)
    return handle


def ask(client: OpenAI, chat: bool) -> Any:
    """Ask as one asks a provider; what is asked does not matter any more."""
    if chat:
        messages: Any = [{"role": "user", "content": "hello"}]
        return client.chat.completions.create(model="any", messages=messages, stream=True)
    return client.responses.create(model="any", input="hello", stream=True)


def as_json(events: Any) -> list[Any]:
    return [json.loads(encode_json(event)) for event in events]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_relayed_answer_is_the_provider_s(
    provider: ReplayProvider, client_of: Callable[[StreamHandle], OpenAI], path: Path
) -> None:
    recorded = [json.loads(event) for event in recorded_events(path)]
    handle = relay(provider, path.stem, is_chat(path))
    client = client_of(handle)
    assert as_json(ask(client, is_chat(path))) == recorded  # while it is written
    assert as_json(ask(client, is_chat(path))) == recorded  # and afterwards


def test_the_client_s_own_helper_puts_the_answer_together(
    provider: ReplayProvider, client_of: Callable[[StreamHandle], OpenAI]
) -> None:
    handle = relay(provider, "openai-responses-text-short", chat=False)
    with client_of(handle).responses.stream(model="any", input="hello") as stream:
        answer = stream.get_final_response()
    recorded = [json.loads(event) for event in recorded_events(TEXT)]
    text = "".join(e["delta"] for e in recorded if e["type"] == "response.output_text.delta")
    assert answer.output_text == text != ""


def test_pings_in_between_are_no_events(
    provider: ReplayProvider, client_of: Callable[[StreamHandle], OpenAI]
) -> None:
    handle = relay(provider, "openai-responses-text-short?hold=3", chat=False)
    events = iter(ask(client_of(handle), chat=False))
    first = [next(events) for _ in range(3)]
    # Another reader, who came later: when it is pinged, the first one was.
    with httpx.stream("GET", handle.sse_url(), timeout=30) as response:
        assert ": ping" in response.iter_lines()
    provider.release()
    assert as_json([*first, *events]) == [json.loads(event) for event in recorded_events(TEXT)]


def test_events_that_were_ready_are_read_unwrapped(
    client_of: Callable[[StreamHandle], OpenAI],
) -> None:
    recorded = recorded_events(RECORDINGS / "openai-chat-text.sse")
    events = [f"data: {event}\n\n" for event in recorded]
    task: Any = tasks.ready_events
    handle: StreamHandle = task.stream([*events, "data: [DONE]\n\n"])
    read = as_json(ask(client_of(handle), chat=True))
    assert read == [json.loads(event) for event in recorded]


@pytest.mark.parametrize("chat", [False, True], ids=["responses", "chat"])
def test_a_failed_answer_is_an_error(
    provider: ReplayProvider, client_of: Callable[[StreamHandle], OpenAI], chat: bool
) -> None:
    recording = "openai-chat-text" if chat else "openai-responses-text-short"
    handle = relay(provider, f"{recording}?cut=3", chat)
    stream = iter(ask(client_of(handle), chat))
    assert len([next(stream) for _ in range(3)]) == 3
    with pytest.raises(openai.APIError, match="could not be completed"):
        next(stream)
    with pytest.raises(Exception, match=CUT_OFF_MESSAGE):
        handle.result.get(timeout=30)


def test_a_connection_that_breaks_is_an_error(
    proxy: Proxy, dictation: Dictation, client_of: Callable[[StreamHandle], OpenAI]
) -> None:
    handle = dictation.begin()
    dictation.say({"type": "response.output_text.delta", "delta": "Hel"})
    events = iter(ask(client_of(handle), chat=False))
    assert next(events).delta == "Hel"
    proxy.cut()
    with pytest.raises(CUT_OFF):
        next(events)


def test_a_new_attempt_is_an_error(
    dictation: Dictation, client_of: Callable[[StreamHandle], OpenAI]
) -> None:
    handle = dictation.begin()
    dictation.say({"type": "response.output_text.delta", "delta": "old"})
    events = iter(ask(client_of(handle), chat=False))
    assert next(events).delta == "old"
    dictation.retry()
    dictation.say({"type": "response.output_text.delta", "delta": "new"})
    with pytest.raises(openai.APIError, match="newer attempt"):
        next(events)
    dictation.end()
    (again,) = ask(client_of(handle), chat=False)
    assert again.delta == "new"


def test_a_token_for_another_stream_is_refused(
    proxy: Proxy, dictation: Dictation, client_of: Callable[[StreamHandle], OpenAI]
) -> None:
    handle = dictation.begin()
    client = client_of(handle)
    with pytest.raises(openai.AuthenticationError), client.with_options(api_key="x") as other:
        ask(other, chat=False)
