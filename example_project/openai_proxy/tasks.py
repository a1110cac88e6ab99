"""The task behind the proxy: the model's chunks, as they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from openai import OpenAI
from openai.types.chat import ChatCompletionChunk

from streamstraight_celery import stream_task


@stream_task(acks_late=True)
def complete(body: dict[str, Any]) -> Iterator[ChatCompletionChunk]:
    """Ask the model (`OPENAI_BASE_URL`, `OPENAI_API_KEY`) what the caller has asked."""
    client = OpenAI(max_retries=2, timeout=float(os.environ.get("MODEL_TIMEOUT", "60")))
    rest = {name: body[name] for name in body if name not in ("model", "messages", "stream")}
    with client.chat.completions.create(
        model=body.get("model", ""), messages=body.get("messages", []), stream=True, extra_body=rest
    ) as chunks:
        yield from chunks
