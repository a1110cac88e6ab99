"""The real frameworks' events as UI messages and as AG-UI's events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from streamstraight_celery import to_ag_ui, to_ui_messages
from streamstraight_celery.codecs import get_codec, wire_encoder
from tests.frameworks.models import ANSWER, Models
from tests.frameworks.sources import CANARY, SOURCES, need

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
# Streams of nothing but the graph's progress.
NAMES = [name for name in SOURCES if name not in ("langgraph tasks", "langgraph debug",
                                                  "langgraph debugging")]  # fmt: skip
AGENTS = ("openai-agents", "pydantic-ai", "langchain events", "langgraph messages",
          "langgraph updates", "langgraph values", "langgraph several", "langgraph subgraphs",
          "llama-index agent")  # fmt: skip
NO_TOOLS = ("openai-agents quickstart", "openai responses.stream")


@pytest.fixture(scope="module")
def events() -> Iterator[Any]:
    """Makes a source's events, once."""
    found: dict[str, list[Any]] = {}
    with Models() as models:

        def make(name: str) -> list[Any]:
            if name not in found:
                found[name] = SOURCES[name][1](models.url)
            return found[name]

        yield make


def answered(parts: list[Any], name: str) -> None:
    """Some sources ask twice: with a tool, then without."""
    texts = "".join(part["delta"] for part in parts
                    if part["type"] in ("text-delta", "TEXT_MESSAGE_CONTENT"))  # fmt: skip
    assert texts == ANSWER, name


@pytest.mark.parametrize("name", NAMES)
def test_ui_messages(name: str, events: Any) -> None:
    parts = list(to_ui_messages(events(name)))
    encode = wire_encoder(get_codec("ui-messages"))
    assert CANARY not in "".join(map(encode, parts))
    answered(parts, name)
    kinds = [part["type"] for part in parts]
    assert kinds[:2] == ["start", "start-step"]
    assert kinds[-2:] == ["finish-step", "finish"]
    assert kinds.count("text-start") == kinds.count("text-end") == 1
    if name in NO_TOOLS:
        return
    [call] = [part for part in parts if part["type"] == "tool-input-available"]
    assert (call["toolName"], call["input"]) == ("get_weather", {"city": "Paris"})
    assert kinds.index("tool-input-start") < kinds.index("tool-input-available")
    results = [part for part in parts if part["type"] == "tool-output-available"]
    if name in AGENTS:
        assert [part["toolCallId"] for part in results] == [call["toolCallId"]]
        assert "sunny in Paris" in str(results[0]["output"])
    else:
        assert not results


@pytest.mark.parametrize("name", NAMES)
def test_ag_ui(name: str, events: Any) -> None:
    parts = list(to_ag_ui(events(name), thread_id="t", run_id="r"))
    encode = wire_encoder(get_codec("ag-ui"))
    assert CANARY not in "".join(map(encode, parts))
    answered(parts, name)
    adapter: Any = TypeAdapter(need("ag_ui.core").Event)
    for part in parts:
        adapter.validate_python(part)
    kinds = [part["type"] for part in parts]
    assert (kinds[0], kinds[-1]) == ("RUN_STARTED", "RUN_FINISHED")
    if name not in NO_TOOLS:
        pieces = [part["delta"] for part in parts if part["type"] == "TOOL_CALL_ARGS"]
        assert "".join(pieces).replace(" ", "") == '{"city":"Paris"}'
        assert kinds.count("TOOL_CALL_START") == kinds.count("TOOL_CALL_END") == 1
    if name in AGENTS:
        assert kinds.count("TOOL_CALL_RESULT") == 1


@pytest.mark.parametrize("name", ["openai responses", "anthropic", "google-genai", "ollama"])
def test_reasoning(name: str, events: Any) -> None:
    parts = list(to_ui_messages(events(name)))
    thoughts = [part["delta"] for part in parts if part["type"] == "reasoning-delta"]
    assert "".join(thoughts) == "Let me look."
