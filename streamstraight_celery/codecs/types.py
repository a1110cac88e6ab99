"""What the codecs of agent frameworks send, for `read_stream(type=...)` and for type checkers.

Each is a `TypedDict` of which keys may be missing. The client has the same types in TypeScript.
"""

from __future__ import annotations

import sys
from typing import Any, Literal

if sys.version_info >= (3, 12):
    from typing import TypedDict
else:  # pydantic needs the backport's
    from typing_extensions import TypedDict


class BinaryValue(TypedDict):
    """Bytes inside a chunk."""

    type: Literal["bytes"]
    base64: str


class OpenAIEvent(TypedDict, total=False):
    """`codec="openai"`: an event of the Responses API, or a chunk of Chat Completions."""

    type: str
    sequence_number: int
    item_id: str
    output_index: int
    delta: str
    text: str
    arguments: str
    item: dict[str, Any]
    response: dict[str, Any]
    id: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any]


class AnthropicEvent(TypedDict, total=False):
    """`codec="anthropic"`."""

    type: str
    index: int
    message: dict[str, Any]
    content_block: dict[str, Any]
    delta: dict[str, Any]
    usage: dict[str, Any]
    text: str
    thinking: str
    partial_json: str


class LangChainMessage(TypedDict, total=False):
    """A message of a model or a tool, or a piece of one."""

    type: str
    id: str
    content: str | list[Any]
    reasoning_content: str
    tool_call_chunks: list[dict[str, Any]]
    tool_calls: list[dict[str, Any]]
    tool_call_id: str
    name: str
    status: str
    finish_reason: str
    usage_metadata: dict[str, int]


class LangChainStreamEvent(TypedDict, total=False):
    """An event of `astream_events()`."""

    event: str
    name: str
    run_id: str
    langgraph_node: str
    data: dict[str, Any]


# Also LangGraph's chunks: `[message, metadata]`, `[mode, data]`, `[namespace, mode, data]`; and of
# a single mode, such as `updates`, a dictionary.
LangChainEvent = LangChainMessage | LangChainStreamEvent | list[Any] | dict[str, Any]


class OpenAIAgentsEvent(TypedDict, total=False):
    """`codec="openai-agents"`."""

    type: str
    data: OpenAIEvent
    name: str
    item: dict[str, Any]
    new_agent: dict[str, str]


class PydanticAIEvent(TypedDict, total=False):
    """`codec="pydantic-ai"`."""

    event_kind: str
    index: int
    part: dict[str, Any]
    delta: dict[str, Any]
    tool_name: str
    tool_call_id: str
    output: Any
    usage: dict[str, int]


class GeminiChunk(TypedDict, total=False):
    """`codec="google-genai"`."""

    response_id: str
    candidates: list[dict[str, Any]]
    usage_metadata: dict[str, int]
    prompt_feedback: dict[str, Any]


class OllamaChunk(TypedDict, total=False):
    """`codec="ollama"`: of `chat()`, or with `response` of `generate()`."""

    done: bool
    done_reason: str
    message: dict[str, Any]
    response: str
    thinking: str
    prompt_eval_count: int
    eval_count: int
    total_duration: int


class LiteLLMChunk(TypedDict, total=False):
    """`codec="litellm"`."""

    id: str
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, int]


class LlamaIndexEvent(TypedDict, total=False):
    """`codec="llama-index"`."""

    type: str
    delta: str
    thinking_delta: str
    current_agent_name: str
    tool_calls: list[dict[str, Any]]
    tool_name: str
    tool_id: str
    tool_kwargs: dict[str, Any]
    output: str
    prefix: str
    usage: dict[str, int]
