"""Events of pydantic-ai: `run_stream_events()`, `event_stream_handler`, `stream_responses()`.

The last event holds the run's result with all messages; sent are its output and its usage.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .picking import binary, get, pick

_BINARY = frozenset({"BinaryContent", "BinaryImage", "BinaryAudio"})


def reducer(kind: type) -> Callable[[Any], Any] | None:
    """What is sent of such objects."""
    module = kind.__module__
    if not module.startswith("pydantic_ai.") or module.startswith("pydantic_ai.ui."):
        return None
    if hasattr(kind, "event_kind"):
        return project
    if hasattr(kind, "part_kind"):
        return _part
    if hasattr(kind, "part_delta_kind"):
        return _delta
    if kind.__name__ in _BINARY:
        return lambda content: binary(content.data, content.media_type)
    if kind.__name__ == "ModelResponse":
        return _response
    return _refuse


def _refuse(value: Any) -> Any:
    raise ValueError(f"{type(value).__name__} may hold instructions and history")


def project(event: Any) -> Any:
    """What `codec="pydantic-ai"` sends."""
    kind = getattr(event, "event_kind", None)
    if kind is None or not type(event).__module__.startswith("pydantic_ai."):
        return event
    match kind:
        case "part_start":
            return pick(event, "index", event_kind=kind, part=_part(event.part))
        case "part_delta":
            return pick(event, "index", event_kind=kind, delta=_delta(event.delta))
        case "final_result":
            return pick(event, "tool_name", "tool_call_id", event_kind=kind)
        case "agent_run_result":
            output = getattr(event.result, "output", None)
            return pick(event, event_kind=kind, output=output, usage=_usage(event.result))
    part = getattr(event, "part", None) or getattr(event, "result", None)
    shown = _part(part) if kind != "part_end" and hasattr(part, "part_kind") else None
    return pick(event, "index", event_kind=kind, part=shown)


def _part(part: Any) -> dict[str, Any] | None:
    match kind := part.part_kind:
        case "text" | "thinking":
            return pick(part, "content", part_kind=kind)
        case "tool-call" | "builtin-tool-call":
            return pick(part, "tool_name", "args", "tool_call_id", part_kind=kind)
        case "tool-return" | "builtin-tool-return":
            names = ("tool_name", "content", "tool_call_id", "outcome")
            return pick(part, *names, part_kind=kind)
        case "retry-prompt":
            return pick(part, "tool_name", "tool_call_id", part_kind=kind)
        case "file":
            content = part.content
            return {"part_kind": kind, "content": binary(content.data, content.media_type)}
        case "speech":
            return pick(part, "speaker", "transcript", part_kind=kind)
    return None  # a part of a request: system prompts, instructions, what the user said


def _delta(delta: Any) -> dict[str, Any]:
    names = ("content_delta", "tool_name_delta", "args_delta", "tool_call_id")
    return pick(delta, "part_delta_kind", *names)


def _response(response: Any) -> dict[str, Any]:
    parts = [part for part in map(_part, response.parts) if part]
    found = pick(response, "finish_reason", kind="response", parts=parts)
    return {**found, "usage": _usage(response)}


def _usage(source: Any) -> dict[str, Any]:
    usage = get(source, "usage")
    usage = usage() if callable(usage) else usage
    return pick(usage, "requests", "tool_calls", "input_tokens", "output_tokens")
