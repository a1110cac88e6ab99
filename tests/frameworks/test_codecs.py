"""The real frameworks' events: what arrives, and that nothing secret does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from streamstraight_celery import StreamTask
from streamstraight_celery.codecs import get_codec, types, wire_encoder
from streamstraight_celery.errors import EncodeError
from streamstraight_celery.testing import StreamTester
from tests.frameworks.models import WORDS, Models, chat
from tests.frameworks.sources import CANARY, SOURCES

pytestmark = [
    pytest.mark.slow,
    # Of the frameworks themselves.
    pytest.mark.filterwarnings("ignore"),
]
HEADER = "header-canary"
# What of the default codec is an error, and what the codec by name leaves out.
NOT_BY_DEFAULT = ("langgraph updates", "langgraph values", "langgraph tasks", "langgraph debug")
WITHOUT_TEXT = ("langgraph tasks", "langgraph debug", "langgraph debugging")


@pytest.fixture(scope="module")
def models() -> Iterator[Models]:
    with Models() as models:
        yield models


@pytest.fixture(scope="module")
def events(models: Models) -> dict[str, list[Any]]:
    """Of each source that was asked for; the models' answers never differ."""
    return {}


def events_of(name: str, models: Models, events: dict[str, list[Any]]) -> list[Any]:
    if name not in events:
        events[name] = SOURCES[name][1](models.url)
    return events[name]


def is_secret(text: str) -> bool:
    return CANARY in text or HEADER in text


@pytest.mark.parametrize("name", SOURCES)
def test_what_the_codec_by_name_sends(
    name: str, models: Models, events: dict[str, list[Any]]
) -> None:
    chunks = events_of(name, models, events)
    encode = wire_encoder(get_codec(SOURCES[name][0]))
    sent = [text for chunk in chunks if (text := encode(chunk))]
    assert not [text for text in sent if is_secret(text)]
    whole = "\n".join(sent)
    if name in WITHOUT_TEXT:
        assert '"agent"' in whole
        assert "messages" not in whole
        return
    assert all(word.strip() in whole for word in WORDS), whole
    if "quickstart" not in name and "responses.stream" not in name:
        assert "get_weather" in whole
        assert "Paris" in whole


TYPES: dict[str, Any] = {
    "openai": types.OpenAIEvent,
    "anthropic": types.AnthropicEvent,
    "langchain": types.LangChainEvent,
    "openai-agents": types.OpenAIAgentsEvent,
    "pydantic-ai": types.PydanticAIEvent,
    "google-genai": types.GeminiChunk,
    "ollama": types.OllamaChunk,
    "litellm": types.LiteLLMChunk,
    "llama-index": types.LlamaIndexEvent,
}


@pytest.mark.parametrize("name", SOURCES)
def test_chunks_have_the_types_that_are_promised(
    name: str, models: Models, events: dict[str, list[Any]]
) -> None:
    codec = SOURCES[name][0]
    encode, check = wire_encoder(get_codec(codec)), TypeAdapter(TYPES[codec])
    for chunk in events_of(name, models, events):
        if text := encode(chunk):
            check.validate_json(text, strict=True)


@pytest.mark.parametrize("name", SOURCES)
def test_the_default_codec_fails_safe(
    name: str, models: Models, events: dict[str, list[Any]]
) -> None:
    encode = wire_encoder(get_codec("json"))
    refused = []
    for chunk in events_of(name, models, events):
        try:
            assert not is_secret(encode(chunk))
        except EncodeError as error:
            refused.append(str(error))
    assert not refused or name in NOT_BY_DEFAULT
    for message in refused:
        assert message.startswith("chunk")
        assert 'codec="langchain"' in message
        assert not is_secret(message)


def test_sizes_stay_near_the_provider_s(models: Models, events: dict[str, list[Any]]) -> None:
    """A token costs at most twice what the provider's own event has; the stream helpers too."""
    wire = len(json.dumps(next(chat({}, ["sunny "]))))
    for name in ("openai chat", "litellm", "langchain", "llama-index", "pydantic-ai", "ollama"):
        encode = wire_encoder(get_codec(SOURCES[name][0]))
        sizes = [len(text) for chunk in events_of(name, models, events)
                 if "sunny " in (text := encode(chunk)) and "in Paris" not in text]  # fmt: skip
        assert sizes, name
        assert sum(sizes) / len(sizes) < 2 * wire, (name, sizes)


def test_a_helper_s_stream_does_not_grow_with_its_snapshots(models: Models) -> None:
    words = [f"word{number} " for number in range(300)]
    with Models(words) as long:
        for name in ("openai chat.stream", "anthropic stream", "openai responses.stream"):
            codec, source = SOURCES[name]
            chunks = source(long.url)
            for encode in (wire_encoder(get_codec(codec)), wire_encoder(get_codec("json"))):
                texts = [encode(chunk) for chunk in chunks]
                assert sum(map(len, texts)) < 300 * 2 * 350, name


@pytest.mark.parametrize("name", ["openai-agents", "pydantic-ai", "langgraph messages", "ollama"])
def test_every_byte_that_a_reader_gets(
    name: str, models: Models, events: dict[str, list[Any]]
) -> None:
    """From the generator through the writer and the log."""
    chunks = events_of(name, models, events)
    with StreamTester() as streams:

        @streams.app.task(base=StreamTask, codec=SOURCES[name][0], shared=False, name=name)
        def agent() -> Iterator[Any]:
            yield from chunks

        run = streams.run(agent)
        assert run.completed()
        assert not is_secret(json.dumps(run.chunks))
