"""`type=` and `decoder=`: what chunks become, and what happens to those that do not."""

from __future__ import annotations

import builtins
import dataclasses
import datetime
import sys
from typing import Any

import msgspec
import pydantic
import pytest
from typing_extensions import TypedDict

from streamstraight_celery import aread_stream, read_stream
from streamstraight_celery.errors import ConfigurationError, DecodeError, MissingDependencyError
from streamstraight_celery.relays.base import RelayOptions
from streamstraight_celery.relays.memory.relay import AsyncMemoryRelay, MemoryRelay
from streamstraight_celery.relays.memory.store import MemoryStore
from tests.server.producer import Producer


class Model(pydantic.BaseModel):
    text: str
    at: datetime.date = datetime.date(2026, 1, 1)


class Strict(pydantic.BaseModel, strict=True):
    text: str
    at: datetime.date


@dataclasses.dataclass
class Data:
    text: str


class Typed(TypedDict):
    text: str


class Struct(msgspec.Struct):
    text: str


class Other(msgspec.Struct, tag="other"):
    number: int


class Tagged(msgspec.Struct, tag="tagged"):
    text: str


@pytest.fixture
def producer() -> Producer:
    store = MemoryStore(RelayOptions())
    return Producer(MemoryRelay(store), "chat-7").create().claim()


def read(producer: Producer, **options: Any) -> list[Any]:
    return list(read_stream(producer.stream_id, relay=producer.relay, **options))


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (Model, Model(text="a")),
        (Data, Data("a")),
        (Typed, {"text": "a"}),
        (Struct, Struct("a")),
        (dict[str, str], {"text": "a"}),
        (Model | int, Model(text="a")),
        (None, {"text": "a"}),
    ],
    ids=["pydantic", "dataclass", "TypedDict", "msgspec", "dict", "union", "none"],
)
def test_chunks_become_what_was_asked_for(producer: Producer, kind: Any, wanted: Any) -> None:
    producer.append({"text": "a"}, end="completed")
    (chunk,) = read(producer, type=kind)
    assert chunk == wanted
    assert type(chunk) is type(wanted)


async def test_async_readers_too(producer: Producer) -> None:
    producer.append({"text": "a"}, end="completed")
    relay = AsyncMemoryRelay(producer.relay._store)  # type: ignore[attr-defined]
    stream = aread_stream(producer.stream_id, relay=relay, type=Model)
    assert [chunk async for chunk in stream] == [Model(text="a")]


def test_a_union_of_structs(producer: Producer) -> None:
    producer.append({"type": "other", "number": 1}, {"type": "tagged", "text": "a"}, end="stopped")
    assert read(producer, type=Other | Tagged) == [Other(1), Tagged("a")]


def test_strict_models_take_what_json_writes_as_a_string(producer: Producer) -> None:
    producer.append({"text": "a", "at": "2026-02-03"}, end="completed")
    assert read(producer, type=Strict) == [Strict(text="a", at=datetime.date(2026, 2, 3))]


@pytest.mark.parametrize("kind", [Model, Data, Typed, Struct])
def test_a_chunk_of_another_type_names_itself(producer: Producer, kind: Any) -> None:
    producer.append({"text": "a"})
    producer.append({"text": "b"}, {"text": 7}, end="completed")
    reader = read_stream("chat-7", relay=producer.relay, type=kind)
    got = [next(reader), next(reader)]

    with pytest.raises(DecodeError) as caught:
        next(reader)

    assert len(got) == 2
    assert str(caught.value).startswith(f"chunk 3 of stream 'chat-7' is not a {kind.__name__}: ")
    assert caught.value.seq == 3
    assert caught.value.__cause__ is not None
    # Before the chunk: another reader may go on with it, knowing better.
    assert reader.offset == producer.offset(2)
    assert reader.status == "closed"
    assert read(producer, offset=reader.offset) == [{"text": 7}]


def test_a_decoder(producer: Producer) -> None:
    producer.append("1", "2", end="completed")
    assert read(producer, decoder=int) == [1, 2]


def test_a_decoder_that_fails(producer: Producer) -> None:
    producer.append("1", "two")
    with pytest.raises(DecodeError, match=r"chunk 2 of stream 'chat-7'.*invalid literal"):
        read(producer, decoder=int)


def test_a_codec_that_wrote_no_json(producer: Producer) -> None:
    from streamstraight_celery.errors import StreamReadError
    from streamstraight_celery.relays.requests import Append

    request = Append(producer.stream_id, producer.attempt, producer.nonce, 1, 1, b"{oops")
    assert producer.relay.call(request).kind == "ok"
    with pytest.raises(StreamReadError, match="chunk 1 is not JSON") as caught:
        read(producer)
    assert caught.value.code == "bad-frame"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"type": Model, "decoder": int}, "either type= or decoder="),
        ({"type": object()}, "type=<object"),
        ({"decoder": "int"}, "decoder= must be a function"),
        ({"give_up_after": 0}, "greater than 0"),
        ({"token": "t"}, "for reading over HTTP"),
    ],
)
def test_options_that_make_no_sense(
    producer: Producer, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_stream("chat-7", relay=producer.relay, **options)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("ftp://relay.example/v1/stream/a", {}, "http"),
        ({"stream_id": "a"}, {}, "http"),
        ("http://relay.example/v1/stream/a", {"relay": object()}, "give a stream id"),
        ({"stream_id": "a", "url": "http://h/v1/stream/a"}, {"relay": 1, "token": "t"}, "no"),
        ("a b", {}, "stream id 'a b'"),
    ],
)
def test_sources_that_make_no_sense(source: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_stream(source, **options)


@pytest.mark.parametrize(
    ("module", "extra", "options"),
    [
        ("httpx", "reader", {"source": "http://127.0.0.1:1/v1/stream/a"}),
        ("pydantic", "pydantic", {"source": "a", "type": int}),
    ],
)
def test_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str, extra: str, options: dict[str, Any]
) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name == module:
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=rf"streamstraight-celery\[{extra}\]"):
        read_stream(options.pop("source"), **options)
