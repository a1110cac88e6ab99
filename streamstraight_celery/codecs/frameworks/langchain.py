"""Events of LangChain and LangGraph: messages, `astream_events()`, and LangGraph's stream modes.

Sent are the messages of models and tools. Not sent are system and human messages, the inputs of
models, chains and tools, and a graph's state; `custom` events are the application's own data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .picking import each_of, get, pick, without

_PACKAGES = ("langchain_core", "langchain", "langgraph")
_MODES = frozenset({"messages", "updates", "values", "custom", "tasks", "checkpoints", "debug"})
_SEALED = frozenset({"signature", "encrypted_content", "extras"})
_USAGE = ("input_tokens", "output_tokens", "total_tokens")
# Of the stream modes `tasks` (begun, done), `debug` and `checkpoints`.
_PROGRESS = (
    {"id", "name", "triggers"},
    {"id", "name", "result"},
    {"type", "step", "payload"},
    {"config", "values", "next"},
)
_EVENT_KEYS = frozenset({"event", "run_id", "data", "name"})


def reducer(kind: type) -> Callable[[Any], Any] | None:
    """What is sent of such objects."""
    names = {base.__name__ for base in kind.__mro__}
    if "BaseMessage" in names:
        return _message if _is_shown(kind) else _refuse
    if "Document" in names:
        return lambda each: pick(each, "id", "page_content", "metadata", type="Document")
    if kind.__name__ in ("GenerationChunk", "ChatGenerationChunk"):
        return _generation
    if kind.__name__ == "Interrupt":
        return lambda each: pick(each, "id", "value")
    return _refuse if kind.__module__.partition(".")[0] in _PACKAGES else None


def _refuse(value: Any) -> Any:
    raise ValueError(f"{type(value).__name__} may hold prompts and history")


def container_reducer(chunk: Any) -> Callable[[Any], Any] | None:
    """What a tuple of LangGraph's or a dictionary of `astream_events()` becomes; else None."""
    if type(chunk) is dict:
        return project if "run_id" in chunk and chunk.keys() >= _EVENT_KEYS else None
    if type(chunk) is tuple and len(chunk) in (2, 3) and (_mode(chunk) or _is_message(chunk[0])):
        return project
    return None


def project(chunk: Any) -> Any:
    """What `codec="langchain"` sends."""
    if _is_message(chunk):
        return _message(chunk) if _is_shown(type(chunk)) else None
    if isinstance(chunk, dict):
        return _dictionary(chunk)
    if isinstance(chunk, tuple) and len(chunk) in (2, 3):
        return _tuple(chunk)
    return chunk


def _is_message(value: Any) -> bool:
    return any(base.__name__ == "BaseMessage" for base in type(value).__mro__)


def _is_shown(kind: type) -> bool:
    return any(base.__name__ in ("AIMessage", "ToolMessage") for base in kind.__mro__)


# -- messages


def _message(message: Any) -> dict[str, Any]:
    metadata = get(message, "response_metadata")
    found = pick(message, "id", "type")
    found["content"] = without(get(message, "content"), _SEALED)
    if found.get("type") == "tool":
        return {**found, **pick(message, "tool_call_id", "name", "status")}
    chunks = [
        pick(each, "index", "id", "name", "args") for each in each_of(message, "tool_call_chunks")
    ]
    if chunks:
        found["tool_call_chunks"] = chunks
    elif "Chunk" not in type(message).__name__ and get(message, "tool_calls"):
        found["tool_calls"] = [pick(each, "id", "name", "args") for each in message.tool_calls]
    reasoning = get(get(message, "additional_kwargs"), "reasoning_content")
    reason = get(metadata, "finish_reason") or get(metadata, "stop_reason")
    usage = pick(get(message, "usage_metadata"), *_USAGE) or None
    more = {"reasoning_content": reasoning, "finish_reason": reason, "usage_metadata": usage}
    return {**found, **pick(more, *more)}


def _generation(chunk: Any) -> dict[str, Any]:
    message = get(chunk, "message")
    return _message(message) if message is not None else pick(chunk, "text")


# -- LangGraph


def _mode(chunk: tuple[Any, ...]) -> str:
    """The stream mode that a tuple names: `(mode, data)`, `(namespace, mode, data)`; or `""`."""
    mode = chunk[-2]
    is_named = isinstance(mode, str) and mode in _MODES
    return mode if is_named and (len(chunk) == 2 or isinstance(chunk[0], tuple)) else ""


def _tuple(chunk: tuple[Any, ...]) -> Any:
    if _is_message(chunk[0]):
        return _pair(chunk)
    mode, data = _mode(chunk), chunk[-1]
    if not mode:
        # With `subgraphs=True`: (namespace, data).
        if isinstance(chunk[0], tuple) and len(chunk) == 2:
            found = project(data)
            return None if found is None else [list(chunk[0]), found]
        return chunk
    shown = _of_mode(mode, data)
    return None if shown is None else [*map(_as_list, chunk[:-2]), mode, shown]


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _of_mode(mode: str, data: Any) -> Any:
    match mode:
        case "custom":
            return data
        case "messages":
            return _pair(data)
        case "updates":
            return _updates(data)
        case "values":
            return _values(data)
    return _progress(data)


def _pair(pair: Any) -> Any:
    message, metadata = pair
    if not _is_shown(type(message)):
        return None
    return [_message(message), pick(metadata, "langgraph_node", "langgraph_step")]


def _updates(data: Any) -> Any:
    """Of each node's update, the messages it added; and what a graph asks when it interrupts."""
    found: dict[str, Any] = {}
    for node, update in data.items():
        if node == "__interrupt__":
            found[node] = [pick(each, "id", "value") for each in update]
        else:
            updates = update if isinstance(update, list) else [update]
            found[node] = {"messages": [each for one in updates for each in _messages(one)]}
    return found


def _values(data: Any) -> Any:
    """Of the state, the messages of this turn: those after the last human one."""
    messages = list(_all_messages(data))
    asked = [n for n, each in enumerate(messages) if get(each, "type") == "human"]
    messages = messages[asked[-1] + 1 :] if asked else messages
    shown = [_message(each) for each in messages if _is_shown(type(each))]
    found: dict[str, Any] = {"messages": shown}
    if interrupts := get(data, "__interrupt__"):
        found["__interrupt__"] = [pick(each, "id", "value") for each in interrupts]
    return found


def _progress(data: Any) -> Any:
    """Of `tasks`, `checkpoints` and `debug`: which node runs, not its input and result."""
    payload = get(data, "payload")
    task = payload if isinstance(payload, Mapping) else data
    return {**pick(data, "type", "step"), **pick(task, "id", "name", "next")}


def _all_messages(state: Any) -> list[Any]:
    found = get(state, "messages")
    found = found if isinstance(found, list) else [found]
    return [each for each in found if _is_message(each)]


def _messages(state: Any) -> list[dict[str, Any]]:
    return [_message(each) for each in _all_messages(state) if _is_shown(type(each))]


def _dictionary(chunk: dict[str, Any]) -> Any:
    """A dictionary that names no stream mode; one that is none of LangGraph's is the caller's."""
    if container_reducer(chunk):
        return _event(chunk)
    # First: the input of a task has messages, too.
    if any(chunk.keys() >= keys for keys in _PROGRESS):
        return _progress(chunk)
    if _all_messages(chunk):
        return _values(chunk)
    updates = [value if isinstance(value, list) else [value] for value in chunk.values()]
    if "__interrupt__" in chunk or any(_all_messages(each) for one in updates for each in one):
        return _updates(chunk)
    return chunk


# -- astream_events


def _event(event: dict[str, Any]) -> Any:
    name, data = event["event"], event["data"]
    found = pick(event, "event", "name", "run_id")
    found.update(pick(event.get("metadata"), "langgraph_node"))
    match name:
        case "on_chat_model_stream" | "on_llm_stream":
            chunk = get(data, "chunk")
            shown = _message(chunk) if _is_message(chunk) else _text(chunk)
            return {**found, "data": {"chunk": shown}}
        case "on_chat_model_end":
            output = get(data, "output")
            end = _message(output) if _is_message(output) else {}
            end.pop("content", None)
            return {**found, "data": {"output": end}}
        case "on_tool_end":
            output = get(data, "output")
            shown = _message(output) if _is_message(output) else _text(output)
            return {**found, "data": {"output": shown}}
        case "on_retriever_end":
            documents = [pick(each, "id", "metadata") for each in each_of(data, "output")]
            return {**found, "data": {"documents": documents}}
        case "on_custom_event":
            return {**found, "data": data}
        case "on_chat_model_start" | "on_llm_start" | "on_tool_start" | "on_tool_error":
            return found
    return None


def _text(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool)) else get(value, "text")
