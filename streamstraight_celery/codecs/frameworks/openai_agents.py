"""Events of the OpenAI Agents SDK: `Runner.run_streamed(...).stream_events()`.

They hold the agent, with its instructions, tools and model. Sent are the raw events of the model,
as `codec="openai"` sends them, and of each run item what it says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .openai import slim
from .picking import each_of, get, pick, wire

_EVENTS = frozenset({"RawResponsesStreamEvent", "RunItemStreamEvent", "AgentUpdatedStreamEvent"})


def reducer(kind: type) -> Callable[[Any], Any] | None:
    """What is sent of such objects."""
    if kind.__module__ == "agents.stream_events" and kind.__name__ in _EVENTS:
        return project
    if kind.__module__ == "agents.items" and kind.__name__.endswith("Item"):
        return _item
    return None


def project(event: Any) -> Any:
    """What `codec="openai-agents"` sends."""
    if type(event).__module__ != "agents.stream_events":
        return event
    if event.type == "raw_response_event":
        data = slim(wire(event.data)) if hasattr(event.data, "to_json") else None
        return pick(event, "type", data=data)
    if event.type == "run_item_stream_event":
        return {"type": event.type, "name": event.name, "item": _item(event.item)}
    if event.type == "agent_updated_stream_event":
        return {"type": event.type, "new_agent": {"name": event.new_agent.name}}
    return {"type": event.type}


def _item(item: Any) -> dict[str, Any]:
    raw = item.raw_item
    call = pick(raw, "call_id", "name", "arguments")
    match item.type:
        case "message_output_item":
            texts = (get(part, "text") or "" for part in each_of(raw, "content"))
            return pick(raw, "id", type=item.type, text="".join(texts))
        case "reasoning_item":
            texts = (get(part, "text") or "" for part in each_of(raw, "summary"))
            return pick(raw, "id", type=item.type, text="".join(texts))
        case "tool_call_item":
            return {"type": item.type, **(call or pick(raw, "id", "status"))}
        case "tool_call_output_item":
            return pick(raw, "call_id", "output", type=item.type)
        case "tool_approval_item" | "mcp_approval_request_item":
            return pick(raw, "id", "server_label", type=item.type, **call)
        case "handoff_call_item":
            return pick(raw, "call_id", "name", type=item.type)
        case "handoff_output_item":
            agents = {"source": item.source_agent.name, "target": item.target_agent.name}
            return {"type": item.type, **agents}
    return {"type": str(item.type)}
