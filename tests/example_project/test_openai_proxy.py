"""The real `openai` client against the proxy of the examples, its worker and a model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from openai import OpenAI

from tests.conftest import ROOT, RedisServer, eventually, free_port
from tests.support.processes import answers, start_celery, stop

MESSAGES = [{"role": "user", "content": "Which words?"}]


@pytest.fixture(scope="module")
def url(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("proxy")
    model, port = free_port(), free_port()
    environment = {
        "REDIS_URL": redis_server.new_database(),
        "PROXY_KEYS": "ada:a-key-of-hers bob:another",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{model}/v1",
        "OPENAI_API_KEY": "of the model",
        "MODEL_TOKENS_PER_SECOND": "0",
    }
    commands = [
        ["example_project.model_server", "--port", str(model)],
        ["uvicorn", "example_project.openai_proxy:api", "--port", str(port)],
    ]
    module = "example_project.openai_proxy"
    started = [start_celery(module, folder / "worker", "worker", "-P", "solo", env=environment)]
    for command in commands:
        with (folder / command[0]).open("wb") as log:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", *command],
                    cwd=ROOT,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **environment},
                )
            )
    eventually(lambda: answers(f"http://127.0.0.1:{port}/openapi.json"), timeout=240)
    yield f"http://127.0.0.1:{port}/v1"
    for process in started:
        stop(process)


def client(url: str, key: str = "a-key-of-hers") -> OpenAI:
    return OpenAI(base_url=url, api_key=key, max_retries=0, timeout=120)


def test_an_answer_as_it_comes_and_whole(url: str) -> None:
    create = client(url).chat.completions.create
    chunks = list(create(model="any", messages=MESSAGES, stream=True))  # type: ignore[call-overload]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].choices[0].finish_reason == "stop"
    whole = create(model="any", messages=MESSAGES)  # type: ignore[arg-type]
    assert whole.choices[0].message.content == text
    assert (whole.object, whole.choices[0].finish_reason) == ("chat.completion", "stop")
    raw = client(url).chat.completions.with_raw_response.create
    served = raw(model="any", messages=MESSAGES, stream=True)  # type: ignore[call-overload]
    assert served.headers["x-served-for"] == "ada"
    served.http_response.close()
    # Its client has left; the answer is there all the same, from the beginning or from any event.
    where = f"{url}/answers/{served.headers['x-stream-id']}"
    own = {"Authorization": "Bearer a-key-of-hers"}
    again = httpx.get(where, headers=own, timeout=120)
    assert again.text.endswith("data: [DONE]\n\n")
    _, second, *_, last, _ = again.text.split("\n\n")
    offset = second.partition("id: ")[2].partition("\n")[0]
    resumed = httpx.get(where, headers=own, params={"offset": offset}, timeout=120)
    assert resumed.text == again.text.partition(second)[2].removeprefix("\n\n")
    assert "[DONE]" in last


def test_what_goes_wrong_is_an_error_of_the_client(url: str) -> None:
    with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
        client(url, "of nobody").chat.completions.create(model="any", messages=MESSAGES)  # type: ignore[arg-type]
    with pytest.raises(openai.APIError, match="could not be completed"):
        list(client(url).chat.completions.create(model="any", messages=[], stream=True))
    with pytest.raises(openai.InternalServerError) as refused:
        client(url).chat.completions.create(model="any", messages=[])
    assert refused.value.status_code == 502
