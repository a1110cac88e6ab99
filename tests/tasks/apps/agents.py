"""Agents of pydantic-ai in stream tasks, with a model that is a function."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from streamstraight_celery import StreamTask, stream_task
from streamstraight_celery.errors import AgentFailedError

WORDS = ["Each", "of", "these", "words", "comes", "by", "itself", "from", "the", "worker"]
SECRET = "sk-a-key-in-an-error"


def agent_of(attempt: int, failures: int, pause: float) -> Any:
    from pydantic_ai import Agent
    from pydantic_ai.models.function import FunctionModel

    async def words(_messages: Any, _info: Any) -> AsyncIterator[str]:
        yield f"{attempt}:"
        for number, word in enumerate(WORDS):
            if attempt <= failures and number == 5:
                raise ConnectionError(f"refused: {SECRET}")
            await asyncio.sleep(pause)
            yield f" {word}"

    return Agent(FunctionModel(stream_function=words))


def messages_of(prompt: str) -> list[dict[str, Any]]:
    return [{"id": "u", "role": "user", "parts": [{"type": "text", "text": prompt}]}]


@stream_task(
    bind=True, codec="ui-messages", autoretry_for=(AgentFailedError,), default_retry_delay=0.3
)
async def chat(
    self: StreamTask[Any], prompt: str, failures: int = 0, pause: float = 0.0
) -> AsyncIterator[str]:
    """An answer as UI messages; the first `failures` attempts break off."""
    from pydantic_ai.ui.vercel_ai import VercelAIAdapter

    asked = {"id": "c", "trigger": "submit-message", "messages": messages_of(prompt)}
    adapter: Any = VercelAIAdapter(
        agent=agent_of(self.request.retries + 1, failures, pause),
        run_input=VercelAIAdapter.build_run_input(json.dumps(asked).encode()),
    )
    async for part in adapter.encode_stream(adapter.run_stream()):
        yield part


@stream_task(bind=True, codec="ag-ui")
async def ag_ui(self: StreamTask[Any], prompt: str, failures: int = 0) -> AsyncIterator[Any]:
    """An answer as AG-UI events."""
    from pydantic_ai.ui.ag_ui import AGUIAdapter

    asked = {"threadId": "t", "runId": "r", "state": {}, "tools": [], "context": []}
    asked |= {"messages": [{"id": "u", "role": "user", "content": prompt}], "forwardedProps": {}}
    adapter: Any = AGUIAdapter(
        agent=agent_of(1, failures, 0),
        run_input=AGUIAdapter.build_run_input(json.dumps(asked).encode()),
    )
    async for event in adapter.encode_stream(adapter.run_stream()):
        yield event
