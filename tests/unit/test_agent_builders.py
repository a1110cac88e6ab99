"""UI messages and AG-UI's events from bare tokens, from data, and from what stops half-way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from ag_ui.core import Event
from openai.types.responses import ResponseTextDeltaEvent
from pydantic import TypeAdapter

from streamstraight_celery import to_ag_ui, to_ui_messages
from streamstraight_celery.codecs import get_codec, wire_encoder
from streamstraight_celery.errors import AgentFailedError, EncodeError

TEXT = [
    {"type": "start", "messageId": "m"},
    {"type": "start-step"},
    {"type": "text-start", "id": "1"},
    {"type": "text-delta", "id": "1", "delta": "Hel"},
    {"type": "text-delta", "id": "1", "delta": "lo"},
    {"type": "text-end", "id": "1"},
    {"type": "finish-step"},
    {"type": "finish"},
]


def sent(parts: Iterator[Any]) -> list[str]:
    return list(map(wire_encoder(get_codec("ui-messages")), parts))


def test_tokens_become_a_message() -> None:
    assert list(to_ui_messages(["Hel", "", "lo"], message_id="m")) == TEXT


async def test_asynchronous_tokens_too() -> None:
    async def tokens() -> AsyncIterator[str]:
        yield "Hel"
        yield "lo"

    assert [part async for part in to_ui_messages(tokens(), message_id="m")] == TEXT
    kinds = [part["type"] async for part in to_ag_ui(tokens())]
    assert kinds == [
        "RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END", "RUN_FINISHED",
    ]  # fmt: skip


def test_ag_ui_events_are_valid() -> None:
    adapter: Any = TypeAdapter(Event)
    for event in to_ag_ui(["Hel", "lo"], thread_id="t", run_id="r"):
        adapter.validate_python(event)


def test_parts_of_the_application_stand_between_the_text() -> None:
    weather = {"type": "data-weather", "data": {"degrees": 21}}
    parts = list(to_ui_messages(["It is", weather, " sunny"]))
    kinds = [part["type"] for part in parts]
    assert kinds[2:-2] == ["text-start", "text-delta", "text-end", "data-weather",
                           "text-start", "text-delta", "text-end"]  # fmt: skip
    assert weather in parts


def test_an_sdk_s_event_and_its_json_are_the_same() -> None:
    event = ResponseTextDeltaEvent(
        type="response.output_text.delta", delta="Hi", content_index=0, item_id="i", logprobs=[],
        output_index=0, sequence_number=1,
    )  # fmt: skip
    assert list(to_ui_messages([event])) == list(to_ui_messages([event.to_dict()]))


def test_a_model_that_fails_fails_the_task() -> None:
    failed = {"type": "response.failed", "response": {"error": {"message": "sk-secret"}}}
    with pytest.raises(AgentFailedError) as error:
        sent(to_ui_messages(["a", failed]))
    assert "sk-secret" not in str(error.value)


def test_closing_it_closes_the_events() -> None:
    closed = []

    def tokens() -> Iterator[str]:
        try:
            yield "a"
            yield "b"
        finally:
            closed.append(True)

    parts: Any = to_ui_messages(tokens())
    assert [next(parts)["type"] for _ in range(3)] == ["start", "start-step", "text-start"]
    parts.close()
    assert closed


def test_an_object_that_is_not_data_is_an_error() -> None:
    with pytest.raises(EncodeError, match="object is not data"):
        sent(to_ui_messages([object()]))
