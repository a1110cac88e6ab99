"""Stream tasks that return something."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from typing import Any

import pydantic

from streamstraight_celery import stream_task


class Answer(pydantic.BaseModel):
    text: str
    tags: set[str] = set()


@dataclasses.dataclass
class Call:
    name: str
    function: Callable[..., Any] | None = None


VALUES: dict[str, Any] = {
    "model": Answer(text="hi", tags={"a"}),
    "models": {"answers": [Answer(text="hi")]},
    "set": {1},
    "number": 7,
    "object": {"calls": [Call("x", print)]},
}


@stream_task
def returning_value(name: str) -> Generator[str, None, Any]:
    yield "one"
    return VALUES[name]


@stream_task(ignore_result=True)
def ignored_value(name: str) -> Generator[str, None, Any]:
    yield "one"
    return VALUES[name]
