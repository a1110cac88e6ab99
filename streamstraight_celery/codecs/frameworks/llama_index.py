"""Events of LlamaIndex: `stream_chat()`, `stream_complete()`, and of its agent workflows.

Each chat response repeats the text so far and the provider's chunk; sent is the delta. The input
of an agent's steps, which is its history, is not sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .picking import each_of, get, pick

_USAGE = ("prompt_tokens", "completion_tokens", "total_tokens")
_EVENTS = frozenset(
    {"AgentStream", "AgentOutput", "AgentInput", "AgentSetup", "ToolCall", "ToolCallResult"}
    | {"StartEvent", "StopEvent", "AgentWorkflowStartEvent", "InputRequiredEvent"}
)  # fmt: skip


def reducer(kind: type) -> Callable[[Any], Any] | None:
    """What is sent of such objects; the application's own workflow events are data."""
    if kind.__module__.partition(".")[0] not in ("llama_index", "workflows"):
        return None
    if kind.__name__ in ("ChatResponse", "CompletionResponse") or kind.__name__ in _EVENTS:
        return project
    return _refuse


def _refuse(value: Any) -> Any:
    raise ValueError(f"{type(value).__name__} may hold prompts and history")


def project(event: Any) -> Any:
    """What `codec="llama-index"` sends."""
    kind = type(event)
    if kind.__module__.partition(".")[0] not in ("llama_index", "workflows"):
        return event
    match kind.__name__:
        case "ChatResponse":
            calls = [found for each in _calls(event.message) if (found := _call(each))]
            return pick(event, "delta", tool_calls=calls or None, usage=_usage(event))
        case "CompletionResponse":
            return pick(event, "delta", usage=_usage(event))
        case "AgentStream":
            names = ("delta", "thinking_delta", "current_agent_name")
            return pick(event, *names, type="AgentStream")
        case "ToolCall":
            return pick(event, "tool_name", "tool_kwargs", "tool_id", type="ToolCall")
        case "ToolCallResult":
            output = get(event.tool_output, "content")
            return pick(event, "tool_name", "tool_id", type="ToolCallResult", output=output)
        case "AgentOutput":
            return pick(event, "current_agent_name", type="AgentOutput")
        case "InputRequiredEvent":
            return pick(event, "prefix", type="InputRequiredEvent")
        case "StopEvent":
            return {"type": "StopEvent"}
        case name if name in _EVENTS:
            return None
    return _refuse(event)


def _calls(message: Any) -> list[Any]:
    blocks = [each for each in each_of(message, "blocks") if hasattr(each, "tool_kwargs")]
    return blocks or list(each_of(get(message, "additional_kwargs"), "tool_calls"))


def _call(call: Any) -> dict[str, Any]:
    """A tool call: a block, or what the provider's client gave."""
    if hasattr(call, "tool_kwargs"):
        arguments = call.tool_kwargs
        return pick(call, id=get(call, "tool_call_id"), name=call.tool_name, arguments=arguments)
    return pick(call, "id", **pick(get(call, "function"), "name", "arguments"))


def _usage(event: Any) -> dict[str, Any] | None:
    return pick(get(event, "additional_kwargs"), *_USAGE) or None
