"""Chunks of LiteLLM, in the form of OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .openai import slim
from .picking import each_of, get, pick

_USAGE = ("prompt_tokens", "completion_tokens", "total_tokens")


def reducer(kind: type) -> Callable[[Any], Any] | None:
    """What is sent of such objects."""
    is_event = hasattr(kind, "model_dump") and kind.__module__.startswith("litellm.")
    return project if is_event else None


def project(chunk: Any) -> Any:
    """What `codec="litellm"` sends."""
    kind = type(chunk)
    if kind.__module__.partition(".")[0] != "litellm" or not hasattr(kind, "model_dump"):
        return chunk
    if get(chunk, "choices") is None:
        # An event of the Responses API.
        return slim(chunk.model_dump(mode="json", exclude_none=True))
    choices = [
        pick(
            each, "index", "finish_reason", delta=_delta(get(each, "delta") or get(each, "message"))
        )
        for each in chunk.choices
    ]
    usage = pick(get(chunk, "usage"), *_USAGE) or None
    return pick(chunk, "id", "model", choices=choices, usage=usage)


def _delta(delta: Any) -> dict[str, Any]:
    calls = [
        pick(call, "index", "id", function=pick(get(call, "function"), "name", "arguments"))
        for call in each_of(delta, "tool_calls")
    ]
    return pick(delta, "role", "content", "reasoning_content", tool_calls=calls or None)
