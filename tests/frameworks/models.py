"""Models on loopback, in the wire formats of OpenAI, Anthropic, Gemini and Ollama.

Asked with tools, a model first thinks and calls the first tool; asked with that tool's result, or
without tools, it answers. As OpenAI does, the Responses API repeats instructions and tools.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
WORDS = ["It ", "is ", "sunny ", "in ", "Paris", "."]
ANSWER = "".join(WORDS)
THOUGHT = "Let me look."
ARGUMENTS = ['{"city"', ':"Paris"}']
USAGE_IN, USAGE_OUT = 11, 7


class Models:
    """The server, in a thread of this process."""

    def __init__(self, words: list[str] | None = None) -> None:
        self.words = words or WORDS
        self.requests: list[Json] = []
        models = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                models.answer(self)

            def log_message(self, *_: Any) -> None:
                """Not to stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Models:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        self.requests.append(body)
        path = handler.path.partition("?")[0]
        kind = "text/event-stream"
        if path.endswith("/chat/completions"):
            events = sse(chat(body, self.words), done=True)
        elif path.endswith("/responses"):
            events = sse(responses(body, self.words), named=True)
        elif path.endswith("/messages"):
            events = sse(messages(body, self.words), named=True)
        elif path.endswith(":streamGenerateContent"):
            events = sse(gemini(body, self.words))
        elif path == "/api/chat":
            events = (json.dumps(each) + "\n" for each in ollama(body, self.words))
            kind = "application/x-ndjson"
        elif path.endswith("/audio/speech"):
            events, kind = iter(["RIFF", "\xff\x00"]), "audio/wav"
        else:
            handler.send_error(404)
            return
        handler.send_response(200)
        handler.send_header("content-type", kind)
        handler.send_header("x-request-id", "header-canary")
        handler.end_headers()
        for event in events:
            handler.wfile.write(event.encode("latin-1" if kind == "audio/wav" else "utf-8"))
            handler.wfile.flush()


def sse(events: Iterator[Json], *, named: bool = False, done: bool = False) -> Iterator[str]:
    for event in events:
        head = f"event: {event['type']}\n" if named else ""
        yield f"{head}data: {json.dumps(event)}\n\n"
    if done:
        yield "data: [DONE]\n\n"


def wants_tool(body: Json) -> bool:
    return bool(body.get("tools")) and not any(
        each.get("role") == "tool" for each in body.get("messages", [])
    )


def tool_name(body: Json) -> str:
    tool = body["tools"][0]
    return str(tool["function"]["name"] if "function" in tool else tool["name"])


# -- OpenAI


def chat(body: Json, words: list[str]) -> Iterator[Json]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}

    def chunk(delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {**head, "choices": [choice]}

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    if wants_tool(body):
        function = {"name": tool_name(body), "arguments": ""}
        call = {"index": 0, "id": "call_1", "type": "function", "function": function}
        yield chunk({"tool_calls": [call]})
        for part in ARGUMENTS:
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
        yield chunk({}, "tool_calls")
    else:
        for word in words:
            yield chunk({"content": word})
        yield chunk({}, "stop")
    usage = {"prompt_tokens": USAGE_IN, "completion_tokens": USAGE_OUT}
    yield {**head, "choices": [], "usage": {**usage, "total_tokens": USAGE_IN + USAGE_OUT}}


def responses(body: Json, words: list[str]) -> Iterator[Json]:
    response: Json = {
        "id": "resp_1", "object": "response", "created_at": 1, "model": "m",
        "status": "in_progress",
        "instructions": body.get("instructions"), "tools": body.get("tools", []), "output": [],
        "metadata": body.get("metadata") or {}, "parallel_tool_calls": True, "tool_choice": "auto",
        "error": None, "incomplete_details": None, "usage": None, "temperature": 1.0, "top_p": 1.0,
    }  # fmt: skip
    number = iter(range(10_000))

    def event(kind: str, /, **fields: Any) -> Json:
        return {"type": f"response.{kind}", "sequence_number": next(number), **fields}

    yield event("created", response=response)
    yield event("in_progress", response=response)
    asked = body.get("input")
    answered = isinstance(asked, list) and any(
        each.get("type") == "function_call_output" for each in asked
    )
    output: list[Json] = []
    if body.get("tools") and not answered:
        yield from _response_call(event, body, output)
    else:
        yield from _response_text(event, words, output)
    usage = {
        "input_tokens": USAGE_IN, "output_tokens": USAGE_OUT,
        "total_tokens": USAGE_IN + USAGE_OUT,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }  # fmt: skip
    done = {**response, "status": "completed", "output": output, "usage": usage}
    yield event("completed", response=done)


def _response_call(event: Any, body: Json, output: list[Json]) -> Iterator[Json]:
    thought: Json = {"id": "rs_1", "type": "reasoning", "summary": []}
    yield event("output_item.added", output_index=0, item=thought)
    part = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
    text = {"type": "summary_text", "text": ""}
    yield event("reasoning_summary_part.added", **part, part=text)
    yield event("reasoning_summary_text.delta", **part, delta=THOUGHT)
    yield event("reasoning_summary_text.done", **part, text=THOUGHT)
    yield event("reasoning_summary_part.done", **part, part={**text, "text": THOUGHT})
    thought = {**thought, "summary": [{**text, "text": THOUGHT}], "encrypted_content": "sealed"}
    yield event("output_item.done", output_index=0, item=thought)
    call: Json = {
        "id": "fc_1", "type": "function_call", "call_id": "call_1", "name": tool_name(body),
        "arguments": "", "status": "in_progress",
    }  # fmt: skip
    yield event("output_item.added", output_index=1, item=call)
    place = {"item_id": "fc_1", "output_index": 1}
    for piece in ARGUMENTS:
        yield event("function_call_arguments.delta", **place, delta=piece)
    whole = "".join(ARGUMENTS)
    yield event("function_call_arguments.done", **place, arguments=whole, name=call["name"])
    call = {**call, "arguments": whole, "status": "completed"}
    yield event("output_item.done", output_index=1, item=call)
    output += [thought, call]


def _response_text(event: Any, words: list[str], output: list[Json]) -> Iterator[Json]:
    message: Json = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    yield event("output_item.added", output_index=0, item={**message, "status": "in_progress"})
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    text: Json = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    yield event("content_part.added", **place, part=text)
    for word in words:
        yield event("output_text.delta", **place, delta=word, logprobs=[])
    whole = "".join(words)
    yield event("output_text.done", **place, text=whole, logprobs=[])
    yield event("content_part.done", **place, part={**text, "text": whole})
    message = {**message, "status": "completed", "content": [{**text, "text": whole}]}
    yield event("output_item.done", output_index=0, item=message)
    output.append(message)


# -- Anthropic


def messages(body: Json, words: list[str]) -> Iterator[Json]:
    usage = {"input_tokens": USAGE_IN, "output_tokens": 1}
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": usage,
    }  # fmt: skip
    yield {"type": "message_start", "message": message}
    answered = any(
        isinstance(each.get("content"), list)
        and any(part.get("type") == "tool_result" for part in each["content"])
        for each in body["messages"]
    )

    def block(index: int, start: Json, deltas: list[Json]) -> Iterator[Json]:
        yield {"type": "content_block_start", "index": index, "content_block": start}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}

    if body.get("tools") and not answered:
        thought = {"type": "thinking", "thinking": "", "signature": ""}
        yield from block(0, thought, [
            {"type": "thinking_delta", "thinking": THOUGHT},
            {"type": "signature_delta", "signature": "sealed"},
        ])  # fmt: skip
        call = {"type": "tool_use", "id": "call_1", "name": tool_name(body), "input": {}}
        pieces = [{"type": "input_json_delta", "partial_json": each} for each in ARGUMENTS]
        yield from block(1, call, pieces)
        reason = "tool_use"
    else:
        texts = [{"type": "text_delta", "text": word} for word in words]
        yield from block(0, {"type": "text", "text": ""}, texts)
        reason = "end_turn"
    delta = {"stop_reason": reason, "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": USAGE_OUT}}
    yield {"type": "message_stop"}


# -- Gemini and Ollama


def gemini(body: Json, words: list[str]) -> Iterator[Json]:
    usage = {
        "promptTokenCount": USAGE_IN, "candidatesTokenCount": USAGE_OUT,
        "totalTokenCount": USAGE_IN + USAGE_OUT,
    }  # fmt: skip
    head = {"modelVersion": "m", "responseId": "r1", "usageMetadata": usage}

    def chunk(part: Json, finish: str | None = None) -> Json:
        candidate: Json = {"index": 0, "content": {"role": "model", "parts": [part]}}
        if finish:
            candidate["finishReason"] = finish
        return {**head, "candidates": [candidate]}

    parts = [part for each in body["contents"] for part in each["parts"]]
    answered = any("functionResponse" in part for part in parts)
    if body.get("tools") and not answered:
        yield chunk({"text": THOUGHT, "thought": True})
        name = body["tools"][0]["functionDeclarations"][0]["name"]
        yield chunk({"functionCall": {"name": name, "args": {"city": "Paris"}}}, "STOP")
        return
    for number, word in enumerate(words):
        yield chunk({"text": word}, "STOP" if number == len(words) - 1 else None)


def ollama(body: Json, words: list[str]) -> Iterator[Json]:
    head = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": False}
    if wants_tool(body):
        yield {**head, "message": {"role": "assistant", "content": "", "thinking": THOUGHT}}
        function = {"name": tool_name(body), "arguments": {"city": "Paris"}}
        calls = [{"function": function}]
        yield {**head, "message": {"role": "assistant", "content": "", "tool_calls": calls}}
    else:
        for word in words:
            yield {**head, "message": {"role": "assistant", "content": word}}
    counts = {"prompt_eval_count": USAGE_IN, "eval_count": USAGE_OUT, "total_duration": 5}
    last = {"role": "assistant", "content": ""}
    yield {**head, "message": last, "done": True, "done_reason": "stop", **counts}
