"""Chunks of the ollama client: `chat(stream=True)` and `generate(stream=True)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .picking import each_of, get, pick

_COUNTS = ("prompt_eval_count", "eval_count", "total_duration")


def reducer(kind: type) -> Callable[[Any], Any] | None:
    """What is sent of such objects."""
    return project if kind.__name__ in ("ChatResponse", "GenerateResponse") else None


def project(chunk: Any) -> Any:
    """What `codec="ollama"` sends; not `context`, which holds the conversation."""
    kind = type(chunk)
    if kind.__module__.partition(".")[0] != "ollama" or reducer(kind) is None:
        return chunk
    counts = pick(chunk, *_COUNTS) if get(chunk, "done") else {}
    if kind.__name__ == "GenerateResponse":
        return pick(chunk, "response", "thinking", "done", "done_reason", **counts)
    return pick(chunk, "done", "done_reason", message=_message(chunk.message), **counts)


def _message(message: Any) -> dict[str, Any]:
    calls = [
        {"function": pick(get(call, "function"), "name", "arguments")}
        for call in each_of(message, "tool_calls")
    ]
    return pick(message, "role", "content", "thinking", tool_calls=calls or None)
