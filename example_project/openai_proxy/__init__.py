"""An OpenAI-compatible proxy: the application's own `/v1/chat/completions`, answered by a worker.

Any OpenAI client talks to it, with the application's own keys. The answer is a stream of this
package: it continues when the client leaves, survives a deploy of this process, and may be read
again by its id (`X-Stream-Id`).

celery -A example_project.openai_proxy worker
uvicorn example_project.openai_proxy:api
"""

from __future__ import annotations

import hmac
import os
from typing import Any

from celery import Celery
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from streamstraight_celery import StreamFailedError, get_stream, read_stream
from streamstraight_celery.integrations.fastapi import Streams, respond

from .tasks import complete

celery_app = Celery("openai_proxy")
celery_app.conf.update(
    broker_url=os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"),
    task_ignore_result=True,
)
celery_app.set_default()

streams = Streams(celery_app)
api = FastAPI(lifespan=streams.lifespan)


def caller(request: Request) -> str:
    """Who asks: the name that goes with the API key."""
    key = request.headers.get("authorization", "").removeprefix("Bearer ")
    for pair in os.environ.get("PROXY_KEYS", "").split():
        name, _, expected = pair.partition(":")
        if expected and hmac.compare_digest(key.encode(), expected.encode()):
            return name
    raise HTTPException(401, "Incorrect API key provided")


@api.post("/v1/chat/completions", response_model=None)
def completions(body: dict[str, Any], request: Request, name: str = Depends(caller)) -> Any:
    """Begin an answer, and give it as it comes (`stream: true`) or whole."""
    stream = complete.stream({**body, "user": name})
    if body.get("stream"):
        return respond(stream, request, headers={"X-Served-For": name})
    return whole(stream.id)


@api.get("/v1/answers/{stream_id}", response_model=None)
def again(stream_id: str, request: Request, name: str = Depends(caller)) -> Response:
    """An answer that was begun before, from `?offset=` or `Last-Event-ID` on."""
    # An application looks up here whose stream that is.
    return respond(get_stream(stream_id), request)


def whole(stream_id: str) -> Response:
    """All chunks of a stream as one completion."""
    state = ChatCompletionStreamState()
    try:
        with read_stream(stream_id, app=celery_app, type=ChatCompletionChunk) as chunks:
            for chunk in chunks:
                state.handle_chunk(chunk)
    except StreamFailedError as error:
        return problem(502, error.code, error.message)
    if chunks.end_reason != "completed":  # it was stopped: a part is not an answer
        return problem(502, "stopped", "The answer was stopped.")
    answer = state.get_final_completion()
    return JSONResponse(
        answer.model_dump(mode="json", exclude={"choices": {"__all__": {"parsed"}}})
    )


def problem(status: int, code: str, message: str) -> Response:
    """An error as OpenAI's clients know it."""
    return JSONResponse({"error": {"message": message, "code": code}}, status_code=status)


@api.exception_handler(HTTPException)
def refused(_: Request, error: HTTPException) -> Response:
    """A refusal, in the same form."""
    return problem(error.status_code, "refused", str(error.detail))
