"""What type checkers say of readers. Each line that they must refuse says so at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import BaseModel
from typing_extensions import TypedDict, assert_type

from streamstraight_celery import (
    AsyncStreamReader,
    StreamReader,
    StreamRef,
    aread_stream,
    get_stream,
    read_stream,
)


class Event(BaseModel):
    text: str


@dataclass
class Data:
    text: str


class Typed(TypedDict):
    text: str


def number(text: str) -> int:
    return int(text)


async def token() -> str:
    return "t"


# -- right

ref: StreamRef = get_stream("chat-7").ref()
assert_type(read_stream(ref, type=Event), StreamReader[Event])
assert_type(read_stream(ref, type=Data), StreamReader[Data])
assert_type(read_stream(ref, type=Typed), StreamReader[Typed])
assert_type(read_stream(ref, decoder=number), StreamReader[int])
assert_type(read_stream(ref), StreamReader[Any])
assert_type(aread_stream("chat-7", type=Event), AsyncStreamReader[Event])
assert_type(aread_stream("chat-7", decoder=number), AsyncStreamReader[int])
either: StreamReader[Event | int] = read_stream(ref, type=Event | int)
read_stream(ref, get_token=lambda: "t", client=httpx.Client(), on_reset=print)
aread_stream(ref, get_token=token, client=httpx.AsyncClient(), give_up_after=3)
read_stream(ref, offset=-10)

with read_stream(ref, type=Event) as stream:
    for event in stream:
        assert_type(event, Event)
    assert_type(stream.offset, str)
    assert_type(stream.end_reason, "str | None")
    first: str = next(stream).text


async def read() -> list[Event]:
    async with aread_stream(ref, type=Event, offset="now") as stream:
        await stream.stop()
        await stream.close()
        return [event async for event in stream]


# -- wrong

data = read_stream(ref, type=Data)
wrong: StreamReader[Event] = data  # error
missing: str = next(read_stream(ref, type=Event)).txt  # error
read_stream(7)  # error
read_stream(ref, tokn="t")  # error
read_stream(ref, get_token=token)  # error
read_stream(ref, client=httpx.AsyncClient())  # error
aread_stream(ref, client=httpx.Client())  # error
read_stream(ref, offset=3.5)  # error
