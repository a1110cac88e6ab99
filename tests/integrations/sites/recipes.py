"""The recipes of docs/how-to, run as they stand there: FastAPI's in one app, and their tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

from celery import Celery
from fastapi import Depends, FastAPI, Header, HTTPException, Request, WebSocket
from pydantic import BaseModel

from streamstraight_celery import stream_task
from tests.conftest import ROOT
from tests.integrations.sites import sources

celery_app = Celery("recipes", set_as_current=False)
celery_app.config_from_object({**sources.settings(), "stream_lease": 10, "worker_pool": "solo"})
celery_app.set_default()
owners: dict[str, str] = {}


class Question(BaseModel):
    prompt: str


def current(authorization: Annotated[str, Header()]) -> str:
    return authorization.removeprefix("Bearer ")


def check(user: str, stream_id: str) -> None:
    if owners.get(stream_id) != user:
        raise HTTPException(404)


def model(prompt: str) -> Iterator[dict[str, str]]:
    for word in prompt.split():
        if word == "fail":
            raise ValueError(word)
        yield {"type": "text-delta", "text": word}


@stream_task(name="recipes.answer")
def answer(prompt: str) -> Iterator[dict[str, str]]:
    yield from model(prompt)


GIVEN: dict[str, Any] = {
    "celery_app": celery_app, "answer": answer, "model": model, "FastAPI": FastAPI,
    "Request": Request, "WebSocket": WebSocket, "Question": Question,
    "CurrentUser": Annotated[str, Depends(current)],
    "SocketUser": Annotated[str, Depends(lambda: "anybody")],
    "save": lambda user, stream_id: owners.__setitem__(stream_id, user), "check": check,
}  # fmt: skip


def blocks(page: str) -> list[str]:
    """The Python of a page, without what is marked as the state before."""
    found = re.findall(
        r"```python.*?\n(.*?)```", (ROOT / f"docs/how-to/{page}.md").read_text(), re.S
    )
    return [block for block in found if not block.startswith("# before")]


def run(page: str, numbers: slice, **given: Any) -> dict[str, Any]:
    """Run blocks of a page, with what they take for granted."""
    names = {**GIVEN, "__name__": f"recipes.{page}", "api": FastAPI(), **given}
    for block in blocks(page)[numbers]:
        exec(block.replace("from .tasks import answer\n", ""), names)
    return names


PUBSUB = run("from-redis-pubsub", slice(None))
STREAMS = run("from-redis-streams", slice(None))


def create_app() -> FastAPI:
    api = FastAPI()
    own = run("own-routes", slice(1))
    own |= {"__name__": "recipes.own"}
    exec(blocks("own-routes")[3], own)  # the WebSocket
    for path, names in (("/own", own), ("/pubsub", PUBSUB), ("/streams", STREAMS)):
        api.mount(path, names["api"])
    return api
