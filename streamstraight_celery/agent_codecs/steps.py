"""What happens in an answer, whichever framework tells it: text, reasoning, tool calls, results.

Read from what the frameworks' codecs send, so that nothing else can get out here either.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..codecs import framework_event

Json = dict[str, Any]


class Step(NamedTuple):
    """One thing that happens.

    Attributes:
        kind: `text`, `reasoning`, `tool-start`, `tool-args`, `tool-call`, `tool-result`, `usage`,
            `error`, or `part`: the application's own part.
        value: the text, the arguments or the result; for `usage` the counts.
        id: of the tool call.
        name: of the tool.
    """

    kind: str
    value: Any = None
    id: str = ""
    name: str = ""


class Steps:
    """Reads one answer's events. It keeps what tool calls have been told of so far."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._arguments: dict[str, str] = {}
        self._called: set[str] = set()
        # What a later event calls a call: an item's id, or an index within a message.
        self._aliases: dict[Any, str] = {}
        self._seen: set[str] = set()
        self._offered: list[Json] = []

    def take(self, event: Any) -> Iterator[Step]:
        """The steps of one event.

        Args:
            event: a token, a framework's event, or a mapping that is a part itself.
        """
        if isinstance(event, str):
            return self._said("text", event)
        framework, data = framework_event(event)
        if data is None:
            return iter(())
        if not framework:
            return self._mapping(data)
        read: Callable[[Any], Iterator[Step]] = getattr(self, "_" + framework.replace("-", "_"))
        return read(data)

    def end(self) -> Iterator[Step]:
        """What is still to be said when there are no more events."""
        for number, call in enumerate(self._offered):
            arguments = _parsed(call.get("arguments"))
            yield from self._call(str(call.get("id") or number), str(call.get("name")), arguments)
        yield from self._calls()

    # -- steps

    def _said(self, kind: str, text: Any) -> Iterator[Step]:
        if text:
            yield Step(kind, str(text))

    def _start(self, call_id: str, name: str) -> Iterator[Step]:
        if call_id not in self._names:
            self._names[call_id] = name
            self._arguments[call_id] = ""
            yield Step("tool-start", None, call_id, name)

    def _more(self, call_id: str, piece: str) -> Iterator[Step]:
        if piece and call_id in self._names and call_id not in self._called:
            self._arguments[call_id] += piece
            yield Step("tool-args", piece, call_id)

    def _call(self, call_id: str, name: str = "", arguments: Any = None) -> Iterator[Step]:
        """The call is complete; without arguments, with those that came in pieces."""
        if call_id in self._called:
            return
        yield from self._start(call_id, name)
        self._called.add(call_id)
        if arguments is None:
            arguments = _parsed(self._arguments[call_id] or "{}")
        yield Step("tool-call", arguments, call_id, self._names[call_id])

    def _calls(self) -> Iterator[Step]:
        for call_id in list(self._names):
            yield from self._call(call_id)

    def _result(self, call_id: str, output: Any, name: str = "") -> Iterator[Step]:
        yield from self._call(call_id, name)
        yield Step("tool-result", output, call_id, self._names[call_id])

    def _usage(self, counts: Any, given: str, taken: str) -> Iterator[Step]:
        if counts:
            tokens = {"inputTokens": counts.get(given), "outputTokens": counts.get(taken)}
            yield Step("usage", {name: each for name, each in tokens.items() if each is not None})

    def _mapping(self, data: Any) -> Iterator[Step]:
        kind = data.get("type") if isinstance(data, dict) else None
        if isinstance(kind, str) and kind.startswith("response."):
            return self._openai(data)
        if isinstance(data, dict) and isinstance(data.get("choices"), list):
            return self._openai(data)
        return iter((Step("part", data),))

    # -- OpenAI, LiteLLM

    def _openai(self, data: Json) -> Iterator[Step]:
        kind = data.get("type", "")
        if kind == "chunk":
            yield from self._chat(data["chunk"])
        elif "choices" in data:
            yield from self._chat(data)
        elif kind in ("response.output_text.delta", "response.refusal.delta"):
            yield from self._said("text", data["delta"])
        elif kind in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
            yield from self._said("reasoning", data["delta"])
        elif kind in ("response.output_item.added", "response.output_item.done"):
            yield from self._item(data["item"], kind.endswith("done"))
        elif kind in (
            "response.function_call_arguments.delta",
            "response.mcp_call_arguments.delta",
        ):
            yield from self._more(self._aliases.get(data["item_id"], ""), data["delta"])
        elif kind in ("response.failed", "error"):
            error = (data.get("response") or data).get("error") or data
            yield Step("error", str(error.get("message", "the model failed")))
        elif kind in ("response.completed", "response.incomplete"):
            usage = data["response"].get("usage")
            yield from self._usage(usage, "input_tokens", "output_tokens")

    def _item(self, item: Json, done: bool) -> Iterator[Step]:
        kind = str(item.get("type"))
        if not kind.endswith("_call"):
            return
        call_id = str(item.get("call_id") or item.get("id"))
        self._aliases[item.get("id")] = call_id
        name = str(item.get("name") or kind.removesuffix("_call"))
        if not done:
            yield from self._start(call_id, name)
        elif kind in ("function_call", "custom_tool_call"):
            arguments = item.get("arguments", item.get("input"))
            yield from self._call(call_id, name, _parsed(arguments))
        else:  # a tool of the provider's
            action = item.get("action") or _parsed(item.get("arguments") or "{}")
            yield from self._call(call_id, name, action)
            output = item.get("output") or {"status": item.get("status", "completed")}
            yield from self._result(call_id, output)

    def _chat(self, data: Json) -> Iterator[Step]:
        for choice in data["choices"][:1]:
            delta = choice.get("delta") or {}
            yield from self._said(
                "reasoning", delta.get("reasoning_content") or delta.get("reasoning")
            )
            yield from self._said("text", delta.get("content") or delta.get("refusal"))
            for call in delta.get("tool_calls") or ():
                yield from self._piece((data.get("id"), call.get("index")), call.get("id"),
                                       **call.get("function") or {})  # fmt: skip
            if choice.get("finish_reason"):
                yield from self._calls()
        yield from self._usage(data.get("usage"), "prompt_tokens", "completion_tokens")

    def _piece(
        self, alias: Any, call_id: Any, name: Any = None, arguments: Any = None
    ) -> Iterator[Step]:
        """A piece of a call, of which only the first names it."""
        if call_id:
            self._aliases[alias] = str(call_id)
            yield from self._start(str(call_id), str(name or ""))
        yield from self._more(self._aliases.get(alias, ""), arguments or "")

    _litellm = _openai

    # -- Anthropic

    def _anthropic(self, data: Json) -> Iterator[Step]:
        kind, index = data.get("type"), ("block", data.get("index"))
        if kind == "message_start":
            self._aliases = {}
        elif kind == "content_block_start":
            yield from self._block(index, data["content_block"])
        elif kind == "content_block_delta":
            delta = data["delta"]
            yield from self._said("text", delta.get("text"))
            yield from self._said("reasoning", delta.get("thinking"))
            yield from self._more(self._aliases.get(index, ""), delta.get("partial_json") or "")
        elif kind == "content_block_stop" and index in self._aliases:
            yield from self._call(self._aliases[index])
        elif kind == "message_delta":
            yield from self._usage(data.get("usage"), "input_tokens", "output_tokens")
        elif kind == "error":
            yield Step("error", str((data.get("error") or {}).get("message")))

    def _block(self, index: Any, block: Json) -> Iterator[Step]:
        kind = str(block.get("type"))
        yield from self._said("text", block.get("text"))
        yield from self._said("reasoning", block.get("thinking"))
        if kind.endswith("tool_use"):
            self._aliases[index] = block["id"]
            yield from self._start(block["id"], block["name"])
        elif kind.endswith("tool_result"):
            yield from self._result(block["tool_use_id"], block.get("content"))

    # -- agent frameworks

    def _openai_agents(self, data: Json) -> Iterator[Step]:
        item = data.get("item") or {}
        if data["type"] == "raw_response_event" and data.get("data"):
            yield from self._openai(data["data"])
        elif item.get("type") == "tool_call_output_item" and item.get("call_id"):
            yield from self._result(item["call_id"], item.get("output"))

    def _pydantic_ai(self, data: Json) -> Iterator[Step]:
        kind, part = data.get("event_kind"), data.get("part") or {}
        delta = data.get("delta") or {}
        if kind == "part_start" and part.get("part_kind") in ("text", "thinking"):
            said = "text" if part["part_kind"] == "text" else "reasoning"
            yield from self._said(said, part.get("content"))
        elif kind == "part_start" and str(part.get("part_kind")).endswith("tool-call"):
            yield from self._start(part["tool_call_id"], part["tool_name"])
            yield from self._more(part["tool_call_id"], _text(part.get("args")))
        elif kind == "part_start" and str(part.get("part_kind")).endswith("tool-return"):
            yield from self._result(part["tool_call_id"], part.get("content"))
        elif kind == "part_delta" and delta.get("tool_call_id"):
            yield from self._more(delta["tool_call_id"], _text(delta.get("args_delta")))
        elif kind == "part_delta":
            said = "reasoning" if delta.get("part_delta_kind") == "thinking" else "text"
            yield from self._said(said, delta.get("content_delta"))
        elif str(kind).endswith("tool_call") and part.get("tool_call_id"):
            arguments = _parsed(part.get("args") or {})
            yield from self._call(part["tool_call_id"], part["tool_name"], arguments)
        elif str(kind).endswith("tool_result") and part.get("tool_call_id"):
            output = part.get("content", part.get("outcome"))
            yield from self._result(part["tool_call_id"], output, part.get("tool_name", ""))
        elif kind == "agent_run_result":
            yield from self._usage(data.get("usage"), "input_tokens", "output_tokens")

    def _langchain(self, data: Any) -> Iterator[Step]:
        if isinstance(data, list):
            return self._graph(data)
        if "event" in data:
            inner = data.get("data") or {}
            is_end = data["event"] == "on_chat_model_end"
            message = inner.get("chunk") or (None if is_end else inner.get("output"))
            return self._message(message) if isinstance(message, dict) else iter(())
        if "content" in data:
            return self._message(data)
        return self._state(data)

    def _graph(self, data: list[Any]) -> Iterator[Step]:
        if isinstance(data[0], dict):
            return self._message(data[0])
        mode, found = data[-2], data[-1]
        if mode == "custom":
            return iter((Step("part", found),))
        return self._langchain(found) if isinstance(found, (dict, list)) else iter(())

    def _state(self, data: Json) -> Iterator[Step]:
        """Messages of a state or of updates; those that came in pieces are known."""
        states = [data, *(each for each in data.values() if isinstance(each, dict))]
        for state in states:
            for message in state.get("messages") or ():
                if message.get("id") not in self._seen:
                    yield from self._message(message)

    def _message(self, message: Json) -> Iterator[Step]:
        name = str(message.get("id"))
        if message.get("type") == "tool":
            if name not in self._seen:
                self._seen.add(name)
                yield from self._result(message["tool_call_id"], message.get("content"))
            return
        self._seen.add(name)
        yield from self._said("reasoning", message.get("reasoning_content"))
        content = message.get("content")
        for block in [content] if isinstance(content, str) else content or ():
            yield from self._content(block)
        for call in message.get("tool_call_chunks") or ():
            yield from self._piece((name, call.get("index")), call.get("id"), call.get("name"),
                                   call.get("args"))  # fmt: skip
        for call in message.get("tool_calls") or ():
            yield from self._call(str(call.get("id")), call["name"], call.get("args"))
        if message.get("finish_reason"):
            yield from self._calls()
        yield from self._usage(message.get("usage_metadata"), "input_tokens", "output_tokens")

    def _content(self, block: Any) -> Iterator[Step]:
        if isinstance(block, str):
            return self._said("text", block)
        if block.get("type") == "text":
            return self._said("text", block.get("text"))
        parts = [each.get("text", "") for each in block.get("summary") or ()]
        thought = block.get("thinking") or block.get("reasoning") or "".join(parts)
        return self._said("reasoning", thought)

    # -- others

    def _google_genai(self, data: Json) -> Iterator[Step]:
        for candidate in data["candidates"][:1]:
            for part in candidate["content"]["parts"]:
                yield from self._said(
                    "reasoning" if part.get("thought") else "text", part.get("text")
                )
                if call := part.get("function_call"):
                    yield from self._whole_call(call, "args")
        usage = data.get("usage_metadata")
        yield from self._usage(usage, "prompt_token_count", "candidates_token_count")

    def _ollama(self, data: Json) -> Iterator[Step]:
        message = data.get("message") or data
        yield from self._said("reasoning", message.get("thinking"))
        yield from self._said("text", message.get("content") or message.get("response"))
        for call in message.get("tool_calls") or ():
            yield from self._whole_call(call["function"], "arguments")
        yield from self._usage(
            data if data.get("eval_count") else None, "prompt_eval_count", "eval_count"
        )

    def _whole_call(self, call: Json, arguments: str) -> Iterator[Step]:
        call_id = str(call.get("id") or f"call-{len(self._names) + 1}")
        return self._call(call_id, str(call.get("name")), call.get(arguments) or {})

    def _llama_index(self, data: Json) -> Iterator[Step]:
        kind = data.get("type")
        yield from self._said("reasoning", data.get("thinking_delta"))
        yield from self._said("text", data.get("delta"))
        # They grow from response to response.
        self._offered = data.get("tool_calls") or self._offered
        if kind == "ToolCall":
            yield from self._call(data["tool_id"], data["tool_name"], data.get("tool_kwargs"))
        elif kind == "ToolCallResult":
            yield from self._result(data["tool_id"], data.get("output"), data["tool_name"])
        yield from self._usage(data.get("usage"), "prompt_tokens", "completion_tokens")


def _parsed(arguments: Any) -> Any:
    """Arguments of a call, which models write as JSON, mostly."""
    if not isinstance(arguments, str):
        return {} if arguments is None else arguments
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


def _text(arguments: Any) -> str:
    if not arguments:
        return ""
    return arguments if isinstance(arguments, str) else json.dumps(arguments)
