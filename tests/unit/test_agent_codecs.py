"""The codecs of chat front ends: an adapter's strings, its events, and what is neither."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ag_ui.core import RunErrorEvent, TextMessageContentEvent
from pydantic_ai.ui.vercel_ai.response_types import DoneChunk, ErrorChunk, StartChunk

from streamstraight_celery.agent_codecs import AG_UI, UI_MESSAGES
from streamstraight_celery.codecs import get_codec, wire_encoder
from streamstraight_celery.errors import AgentFailedError, EncodeError

UI, AG = wire_encoder(UI_MESSAGES), wire_encoder(AG_UI)
DELTA = {"type": "text-delta", "id": "1", "delta": "Hi \u2028 there"}


@pytest.mark.parametrize(
    "chunk",
    [
        "data: " + json.dumps(DELTA, ensure_ascii=False) + "\n\n",
        "id: 7\r\ndata:" + json.dumps(DELTA) + "\r\n\r\n",
        ": a comment\ndata: " + json.dumps(DELTA) + "\n\n",
        json.dumps(DELTA),
        json.dumps(DELTA, indent=1),
        DELTA,
    ],
    ids=["sse", "crlf", "comment", "json", "indented", "mapping"],
)
def test_a_part_is_its_json(chunk: Any) -> None:
    text = UI(chunk)
    assert json.loads(text) == DELTA
    assert "\n" not in text


def test_an_adapters_own_events() -> None:
    assert json.loads(UI(StartChunk(message_id="m"))) == {"type": "start", "messageId": "m"}
    event = TextMessageContentEvent(message_id="m", delta="Hi")
    assert json.loads(AG(event)) == {
        "type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "Hi",
    }  # fmt: skip


@pytest.mark.parametrize("chunk", ["data: [DONE]\n\n", "", "\n\n", ": ping\n\n", "id: 1\n\n"])
def test_what_is_no_part_makes_no_chunk(chunk: str) -> None:
    assert UI(chunk) == AG(chunk) == ""


def test_the_end_mark_as_an_event_makes_no_chunk() -> None:
    assert UI(DoneChunk()) == ""


@pytest.mark.parametrize("chunk", ["Hello", "data: {", '"text"', "[1]", '{"no": "type"}', 7])
def test_anything_else_is_an_error(chunk: Any) -> None:
    with pytest.raises(EncodeError):
        UI(chunk)


@pytest.mark.parametrize(
    ("encode", "chunk"),
    [
        (UI, 'data: {"type":"error","errorText":"sk-secret"}\n\n'),
        (UI, ErrorChunk(error_text="sk-secret")),
        (AG, RunErrorEvent(message="sk-secret")),
        (AG, 'data: {"type":"RUN_ERROR","message":"sk-secret"}\n\n'),
    ],
)
def test_a_failure_fails_the_task_and_keeps_its_text_from_readers(encode: Any, chunk: Any) -> None:
    with pytest.raises(AgentFailedError) as failed:
        encode(chunk)
    assert "sk-secret" not in str(failed.value)
    assert str(failed.value.__cause__) == "sk-secret"


def test_they_have_names() -> None:
    assert get_codec("ui-messages") is UI_MESSAGES
    assert get_codec("ag-ui") is AG_UI
