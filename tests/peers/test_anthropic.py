"""The real `anthropic` client, with our relay for its provider."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic

from streamstraight_celery import StreamHandle
from tests.peers.processes import Dictation
from tests.support.proxy import Proxy

EVENTS: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {
            "id": "m", "type": "message", "role": "assistant", "model": "any", "content": [],
            "stop_reason": None, "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 2},
    },
    {"type": "message_stop"},
]  # fmt: skip


@pytest.fixture(params=["key", "token"])
def client_of(
    request: pytest.FixtureRequest, proxy: Proxy
) -> Iterator[Callable[[StreamHandle], Anthropic]]:
    """Makes clients whose provider is one stream of ours."""
    clients: list[Anthropic] = []

    def make(handle: StreamHandle) -> Anthropic:
        token, base_url = handle.token(scopes=["read"]), handle.sse_base_url
        given: dict[str, Any] = (
            {"api_key": token} if request.param == "key" else {"auth_token": token, "api_key": None}
        )
        clients.append(Anthropic(base_url=base_url, max_retries=0, **given))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def ask(client: Anthropic) -> Any:
    """Ask as one asks a provider; what is asked does not matter any more."""
    messages: Any = [{"role": "user", "content": "hello"}]
    return client.messages.stream(model="any", max_tokens=9, messages=messages)


def test_the_client_puts_the_answer_together(
    dictation: Dictation, client_of: Callable[[StreamHandle], Anthropic]
) -> None:
    client = client_of(dictation.begin())
    dictation.say(*EVENTS)
    dictation.end()
    for _ in ("while it is written", "and afterwards"):
        with ask(client) as stream:
            assert "".join(stream.text_stream) == "Hello"
            assert stream.get_final_message().stop_reason == "end_turn"


def test_a_failed_answer_is_an_error_with_its_message(
    dictation: Dictation, client_of: Callable[[StreamHandle], Anthropic]
) -> None:
    client = client_of(dictation.begin())
    dictation.say(*EVENTS[:3])
    dictation.fail("the model is out of words")
    with ask(client) as stream, pytest.raises(anthropic.APIError) as error:
        list(stream.text_stream)
    assert "the model is out of words" in json.dumps(str(error.value))


def test_a_connection_that_breaks_is_an_error(
    dictation: Dictation, proxy: Proxy, client_of: Callable[[StreamHandle], Anthropic]
) -> None:
    client = client_of(dictation.begin())
    dictation.say(*EVENTS[:3])
    with ask(client) as stream:
        words = iter(stream.text_stream)
        assert next(words) == "Hel"
        proxy.cut()
        with pytest.raises(Exception, match=r"(?i)peer closed|connection|incomplete"):
            next(words)
