"""A small OpenAI-compatible server, for a demo without an API key.

It serves the Responses and the Chat Completions API to the real `openai` client, streaming or
not, and answers any model name with one of a few texts, at the pace of a real model: 40 tokens a
second, or `MODEL_TOKENS_PER_SECOND`, or what the model's name asks for (`any-name@200`); 0 is as
fast as it can. Run it with `python -m example_project.model_server --port 8089`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import re
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .model_answers import choose_answer

logger = logging.getLogger(__name__)

Json = dict[str, Any]
MODEL = "canned-model"
TOKENS_PER_SECOND = 40.0
_TOKEN = re.compile(r" ?\w{1,7}| ?[^\w\s]+|\s")


class RequestError(Exception):
    """A request that the API refuses with status 400; `param` is the field that is wrong."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class Answer:
    """What one request gets: the model's name, the pace and the text in tokens."""

    def __init__(self, body: Json, field: str, default_rate: float) -> None:
        if not isinstance(body.get("model"), str) or not body["model"]:
            raise RequestError("you must provide a model parameter", "model")
        if body.get(field) in (None, "", []):
            raise RequestError(f"missing required parameter: {field!r}", field)
        self.model: str = body["model"]
        self.rate = _rate(self.model, default_rate)
        prompt = last_user_text(body[field], field)
        self.tokens = tokenize(choose_answer(prompt))
        self.text = "".join(self.tokens)
        self.tokens_in, self.tokens_out = len(tokenize(prompt)), len(self.tokens)
        self.created = int(time.time())
        self.body = body


def tokenize(text: str) -> list[str]:
    """Pieces of words, about as a model produces them; joined they are the text again."""
    return _TOKEN.findall(text)


def last_user_text(messages: object, param: str) -> str:
    """The text of the last message of the user, in any of the forms that the APIs allow."""
    if isinstance(messages, str):
        return messages
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        raise RequestError(f"{param!r} must be a list of messages", param)
    contents = [each.get("content") for each in messages if each.get("role") == "user"]
    content = contents[-1] if contents else ""
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content)


def _rate(model: str, default: float) -> float:
    _, at, rate = model.rpartition("@")
    try:
        return float(rate) if at else default
    except ValueError:
        raise RequestError(f"not a number of tokens a second: {rate!r}", "model") from None


async def paced(answer: Answer) -> AsyncIterator[str]:
    """The tokens, the first one at once and the others as unevenly as a model sends them."""
    due = time.monotonic()
    for token in answer.tokens:
        yield token
        if answer.rate > 0:
            due += random.gammavariate(4, 0.25) / answer.rate  # mean 1, deviation 0.5
        await asyncio.sleep(max(0.0, due - time.monotonic()))


class ResponsesApi:
    """`POST /v1/responses`: the objects of one answer, numbered as they are sent."""

    field = "input"

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._number = 0
        self._place = {"item_id": f"msg_{uuid.uuid4().hex}", "output_index": 0}
        self._part = {**self._place, "content_index": 0}
        self._response: Json = {
            "id": f"resp_{uuid.uuid4().hex}",
            "object": "response",
            "created_at": answer.created,
            "model": answer.model,
            "instructions": answer.body.get("instructions"),
            "metadata": answer.body.get("metadata") or {},
            "error": None,
            "incomplete_details": None,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }

    def start(self) -> Iterator[str]:
        response = {**self._response, "status": "in_progress", "output": [], "usage": None}
        yield self._event("created", response=response)
        yield self._event("in_progress", response=response)
        yield self._event("output_item.added", output_index=0, item=self._item("in_progress"))
        yield self._event("content_part.added", **self._part, part=self._text(""))

    def token(self, token: str) -> str:
        return self._event("output_text.delta", **self._part, delta=token, logprobs=[])

    def end(self) -> Iterator[str]:
        text = self._answer.text
        yield self._event("output_text.done", **self._part, text=text, logprobs=[])
        yield self._event("content_part.done", **self._part, part=self._text(text))
        yield self._event("output_item.done", output_index=0, item=self._item("completed"))
        yield self._event("completed", response=self.whole())

    def whole(self) -> Json:
        tokens_in, tokens_out = self._answer.tokens_in, self._answer.tokens_out
        usage = {
            "input_tokens": tokens_in,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": tokens_out,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": tokens_in + tokens_out,
        }
        output = [self._item("completed")]
        return {**self._response, "status": "completed", "output": output, "usage": usage}

    def _item(self, status: str) -> Json:
        content = [self._text(self._answer.text)] if status == "completed" else []
        kind = {"id": self._place["item_id"], "type": "message", "role": "assistant"}
        return {**kind, "status": status, "content": content}

    def _text(self, text: str) -> Json:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def _event(self, name: str, **fields: object) -> str:
        event = {"type": f"response.{name}", "sequence_number": self._number, **fields}
        self._number += 1
        return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"


class ChatApi:
    """`POST /v1/chat/completions`: the chunks of one answer."""

    field = "messages"

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        name = f"chatcmpl-{uuid.uuid4().hex}"
        self._head: Json = {"id": name, "created": answer.created, "model": answer.model}
        self._head["object"] = "chat.completion.chunk"

    def start(self) -> Iterator[str]:
        yield self._chunk({"role": "assistant", "content": ""})

    def token(self, token: str) -> str:
        return self._chunk({"content": token})

    def end(self) -> Iterator[str]:
        yield self._chunk({}, "stop")
        options = self._answer.body.get("stream_options")
        if isinstance(options, dict) and options.get("include_usage"):
            yield _data({**self._head, "choices": [], "usage": self._usage()})
        yield "data: [DONE]\n\n"

    def whole(self) -> Json:
        message = {"role": "assistant", "content": self._answer.text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        head = {**self._head, "object": "chat.completion"}
        return {**head, "choices": [choice], "usage": self._usage()}

    def _usage(self) -> Json:
        tokens_in, tokens_out = self._answer.tokens_in, self._answer.tokens_out
        counts = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}
        return {**counts, "total_tokens": tokens_in + tokens_out}

    def _chunk(self, delta: Json, finish_reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return _data({**self._head, "choices": [choice]})


def _data(event: Json) -> str:
    return f"data: {json.dumps(event)}\n\n"


async def stream(api: ResponsesApi | ChatApi, answer: Answer) -> AsyncIterator[str]:
    """The events of one answer. Closed or cancelled when the client leaves, and then says so."""
    sent = 0
    try:
        for event in api.start():
            yield event
        async for token in paced(answer):
            yield api.token(token)
            sent += 1
        for event in api.end():
            yield event
    finally:
        if sent < answer.tokens_out:
            logger.info("client left after %d of %d tokens", sent, answer.tokens_out)


def build_app(tokens_per_second: float = TOKENS_PER_SECOND) -> Starlette:
    """The ASGI application."""

    async def answer_with(api_type: type[ResponsesApi | ChatApi], request: Request) -> Response:
        body = await read_body(request)
        answer = Answer(body, api_type.field, tokens_per_second)
        api = api_type(answer)
        if body.get("stream"):
            return StreamingResponse(stream(api, answer), media_type="text/event-stream")
        async for _ in paced(answer):
            pass
        return JSONResponse(api.whole())

    async def responses(request: Request) -> Response:
        return await answer_with(ResponsesApi, request)

    async def chat(request: Request) -> Response:
        return await answer_with(ChatApi, request)

    return Starlette(
        routes=[
            Route("/v1/responses", responses, methods=["POST"]),
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/models", list_models),
        ],
        exception_handlers={RequestError: refuse, HTTPException: refuse},
    )


async def list_models(request: Request) -> Response:
    model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "example_project"}
    return JSONResponse({"object": "list", "data": [model]})


async def read_body(request: Request) -> Json:
    try:
        body = json.loads(await request.body())
    except ValueError:
        raise RequestError("the body is not JSON") from None
    if not isinstance(body, dict):
        raise RequestError("the body is not a JSON object")
    return body


async def refuse(request: Request, error: Exception) -> Response:
    """The error as the OpenAI API words it."""
    status, message = 400, str(error)
    if isinstance(error, HTTPException):
        status, message = error.status_code, f"{error.detail}: {request.method} {request.url.path}"
    detail = {"message": message, "type": "invalid_request_error", "code": None}
    detail["param"] = getattr(error, "param", None)
    return JSONResponse({"error": detail}, status)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the server on this machine until Ctrl-C."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=8089)
    options = parser.parse_args(argv)
    rate = os.environ.get("MODEL_TOKENS_PER_SECOND", str(TOKENS_PER_SECOND))
    try:
        app = build_app(float(rate))
    except ValueError:
        parser.error(f"MODEL_TOKENS_PER_SECOND must be a number, not {rate!r}")
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    # Unfinished answers do not delay the end: nobody loses anything.
    uvicorn.run(app, port=options.port, access_log=False, timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
