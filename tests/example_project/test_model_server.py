"""The demo's model server, used by the real openai client over a real socket."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import openai
import pytest
import uvicorn
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from example_project.model_answers import ANSWERS, choose_answer
from example_project.model_server import Answer, build_app, paced, tokenize
from tests.conftest import ROOT, eventually, free_port

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
FAST = "any-model@0"
SLOW = "any-model@20"
PROMPT: Any = [{"role": "user", "content": "How does this work?"}]


@contextmanager
def serving() -> Iterator[str]:
    """The base URL of a server in a thread."""
    config = uvicorn.Config(
        build_app(), port=0, log_config=None, ws="none", lifespan="off", timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture
def client(base_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=base_url, api_key="x", max_retries=0) as client:
        yield client


def check_responses_events(events: list[Any]) -> None:
    """That the events are those that the API documents, in order, with one text throughout."""
    for event in events:
        assert EVENT.validate_json(event.to_json()) == event
    types = [event.type.removeprefix("response.") for event in events]
    assert types[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert set(types[4:-4]) == {"output_text.delta"}
    assert types[-4:] == [
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert [event.sequence_number for event in events] == list(range(len(events)))
    response = events[-1].response
    text = "".join(event.delta for event in events[4:-4])
    assert text == response.output_text == events[-4].text == choose_answer("How does this work?")
    assert response.status == "completed"
    assert response.model == FAST
    assert response.usage.output_tokens == len(events) - 8
    assert response.id == events[0].response.id


def test_responses_streams(client: openai.OpenAI) -> None:
    check_responses_events(list(client.responses.create(model=FAST, input=PROMPT, stream=True)))


async def test_responses_streams_to_the_async_client(base_url: str) -> None:
    async with openai.AsyncOpenAI(base_url=base_url, api_key="x", max_retries=0) as client:
        stream = await client.responses.create(model=FAST, input=PROMPT, stream=True)
        check_responses_events([event async for event in stream])


def test_the_clients_own_accumulator_agrees(client: openai.OpenAI) -> None:
    with client.responses.stream(model=FAST, input=PROMPT) as stream:
        assert stream.get_final_response().output_text == choose_answer("How does this work?")


def test_responses_at_once(client: openai.OpenAI) -> None:
    response = client.responses.create(model=FAST, input="Tell me about bread", metadata={"a": "b"})
    assert Response.model_validate_json(response.to_json()) == response
    assert response.output_text == choose_answer("bread")
    assert response.metadata == {"a": "b"}
    assert response.usage is not None
    assert response.usage.total_tokens == 4 + len(tokenize(response.output_text))


def check_chat_chunks(chunks: list[Any]) -> None:
    for chunk in chunks:
        assert ChatCompletionChunk.model_validate_json(chunk.to_json()) == chunk
    *chunks, usage = chunks
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == choose_answer("How does this work?")
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "stop"]
    assert usage.choices == []
    assert usage.usage.completion_tokens == len(chunks) - 2


def test_chat_streams(client: openai.OpenAI) -> None:
    usage: Any = {"include_usage": True}
    stream = client.chat.completions.create(
        model=FAST, messages=PROMPT, stream=True, stream_options=usage
    )
    check_chat_chunks(list(stream))


async def test_chat_streams_to_the_async_client(base_url: str) -> None:
    usage: Any = {"include_usage": True}
    async with openai.AsyncOpenAI(base_url=base_url, api_key="x", max_retries=0) as client:
        stream = await client.chat.completions.create(
            model=FAST, messages=PROMPT, stream=True, stream_options=usage
        )
        check_chat_chunks([chunk async for chunk in stream])


def test_chat_at_once(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model=FAST, messages=PROMPT)
    assert completion.choices[0].message.content == choose_answer("How does this work?")
    assert completion.choices[0].finish_reason == "stop"


def test_the_wire_of_chat_ends_with_done(base_url: str) -> None:
    body = {"model": FAST, "messages": PROMPT, "stream": True}
    response = httpx.post(f"{base_url}/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    *events, done, rest = response.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert all(json.loads(event.removeprefix("data: "))["choices"] for event in events)


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["canned-model"]


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_a_client_that_leaves_is_noticed(
    client: openai.OpenAI, api: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "example_project.model_server")
    create: Any = client.responses.create if api == "responses" else client.chat.completions.create
    asked: Any = {"input": PROMPT} if api == "responses" else {"messages": PROMPT}
    stream = create(model=SLOW, stream=True, **asked)
    events = iter(stream)
    for _ in range(6):
        next(events)
    stream.close()
    eventually(lambda: "client left after" in caplog.text, timeout=5)


@pytest.mark.parametrize(
    ("path", "body", "status", "message", "param"),
    [
        ("responses", {"input": "x"}, 400, "provide a model", "model"),
        ("responses", {"model": "m"}, 400, "missing required parameter: 'input'", "input"),
        ("responses", {"model": "m", "input": 7}, 400, "must be a list", "input"),
        ("responses", {"model": "m@fast", "input": "x"}, 400, "not a number", "model"),
        ("chat/completions", {"model": "m", "messages": []}, 400, "'messages'", "messages"),
        ("chat/completions", {"model": "m", "messages": ["x"]}, 400, "a list", "messages"),
        ("chat/completions", [], 400, "not a JSON object", None),
        ("embeddings", {}, 404, "Not Found: POST /v1/embeddings", None),
        ("models", {}, 405, "Method Not Allowed: POST /v1/models", None),
    ],
)
def test_a_wrong_request_gets_the_apis_error(
    client: openai.OpenAI, path: str, body: object, status: int, message: str, param: str | None
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.post(f"/{path}", body=body, cast_to=object)
    assert caught.value.status_code == status
    assert message in caught.value.message
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


def test_a_body_that_is_no_json_is_refused(base_url: str) -> None:
    response = httpx.post(f"{base_url}/responses", content=b"{")
    assert (response.status_code, response.json()["error"]["message"]) == (
        400,
        "the body is not JSON",
    )


@pytest.mark.parametrize(
    ("content", "starts"),
    [
        ("What happens when I reload?", "## What happens when you reload"),
        ([{"type": "input_text", "text": "A bread recipe"}], "## Bread"),
        ("PYTHON!", "## A generator"),
        ("", "## How this answer reached you"),
    ],
)
def test_the_last_prompt_picks_the_answer(
    client: openai.OpenAI, content: object, starts: str
) -> None:
    history: Any = [
        {"role": "user", "content": "bread or python?"},
        {"role": "assistant", "content": "a recipe for bread"},
        {"role": "user", "content": content},
    ]
    text = client.responses.create(model=FAST, input=history).output_text
    assert text.split("\n\n")[1].startswith(starts)


@pytest.mark.parametrize("keywords", ANSWERS)
def test_every_answer_is_honest_and_fit_to_show(keywords: str) -> None:
    text = choose_answer(keywords)
    assert ANSWERS[keywords] in text
    assert text.startswith("*I am a canned model")
    assert 150 <= len(text.split()) <= 300
    assert text.count("```") == 2
    assert "\n- **" in text or "\n1. **" in text
    tokens = tokenize(text)
    assert "".join(tokens) == text
    assert 1.2 < len(tokens) / len(text.split()) < 1.8  # a model's tokens a word


async def test_the_pace_is_that_asked_for() -> None:
    answer = Answer({"model": "m@400", "input": "x"}, "input", default_rate=40)
    assert answer.rate == 400
    started = time.monotonic()
    assert [token async for token in paced(answer)] == answer.tokens
    assert time.monotonic() - started > 0.7 * len(answer.tokens) / 400


def test_as_a_process_of_its_own() -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "example_project.model_server", "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, "MODEL_TOKENS_PER_SECOND": "0"},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process, openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="x") as client:
        assert process.stderr is not None
        for line in process.stderr:
            if f"running on http://127.0.0.1:{port}" in line:
                break
        assert client.responses.create(model="m", input="x").output_text == choose_answer("x")
        with client.responses.create(model=SLOW, input="x", stream=True) as stream:
            next(iter(stream))
        assert any("client left after" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert "Traceback" not in process.stderr.read()


def test_a_wrong_pace_is_said() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "example_project.model_server"],
        cwd=ROOT,
        env={**os.environ, "MODEL_TOKENS_PER_SECOND": "quick"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "MODEL_TOKENS_PER_SECOND must be a number, not 'quick'" in result.stderr
