"""Stream tasks around libraries that call back, with a model that `base_url` serves."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from streamstraight_celery import StreamTask, current_stream, stream_task

ASK = [("user", "?")]


def chat_model(base_url: str, model: str) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(base_url=base_url, api_key="none", model=model, streaming=True, max_retries=0)


def tokens(send: Callable[[Any], object]) -> Any:
    """LangChain's handler, whose `Exception`s LangChain swallows."""
    from langchain_core.callbacks import BaseCallbackHandler

    class Tokens(BaseCallbackHandler):
        def on_llm_new_token(self, token: Any, **_: Any) -> None:
            if token:
                send(token)

    return {"callbacks": [Tokens()]}


def async_tokens() -> Any:
    from langchain_core.callbacks import AsyncCallbackHandler

    class Tokens(AsyncCallbackHandler):
        async def on_llm_new_token(self, token: Any, **_: Any) -> None:
            if token:
                await current_stream().asend(token)

    return {"callbacks": [Tokens()]}


@stream_task(sends=True)
def langchain(base_url: str, model: str) -> str:
    answer = chat_model(base_url, model).invoke(ASK, config=tokens(current_stream().send))
    return str(answer.text)


@stream_task(sends=True)
async def langchain_asynchronously(base_url: str, model: str) -> str:
    answer = await chat_model(base_url, model).ainvoke(ASK, config=async_tokens())
    return str(answer.text)


@stream_task(sends=True, bind=True)
def langchain_in_thread(self: StreamTask[Any], base_url: str, model: str) -> None:
    """As those had it who had a queue, and a thread of their own."""

    def work() -> None:
        chat_model(base_url, model).invoke(ASK, config=tokens(self.stream.send))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


class Crew:
    """Calls back after each step, as CrewAI does; its tools run in an executor."""

    def __init__(self, tool: Callable[[], object], step_callback: Callable[[Any], object]) -> None:
        self._tool = tool
        self._step_callback = step_callback

    def kickoff(self) -> Any:
        self._step_callback({"step": "think"})
        with ThreadPoolExecutor() as executor:
            context = contextvars.copy_context()
            found = executor.submit(context.run, self._tool).result()
        self._step_callback({"step": "done"})
        return found


@stream_task(sends=True)
def crew(base_url: str, model: str) -> Any:
    """A tool of the crew asks a model."""
    from openai import OpenAI

    def ask() -> None:
        client = OpenAI(base_url=base_url, api_key="none", max_retries=0)
        messages: Any = [{"role": "user", "content": "?"}]
        with client.chat.completions.create(model=model, messages=messages, stream=True) as events:
            for event in events:
                if event.choices and (text := event.choices[0].delta.content):
                    current_stream().send(text)

    return Crew(ask, current_stream().send).kickoff()
