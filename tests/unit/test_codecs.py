"""Codecs: what chunks become, and what is refused."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import gc
import json
import uuid
import weakref
from types import MappingProxyType
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseTextDeltaEvent

from streamstraight_celery.codecs import (
    JSON,
    Codec,
    get_codec,
    register_codec,
    utf8,
    wire_encoder,
)
from streamstraight_celery.errors import ConfigurationError, EncodeError
from tests.support.wire import decode_wire


class Point(pydantic.BaseModel):
    x: int
    label: str | None = None


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any


class Colour(enum.Enum):
    RED = "red"


class OddJson:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def to_json(self) -> Any:
        return self.answer


encode = wire_encoder(JSON)


@pytest.mark.parametrize(
    ("chunk", "text"),
    [
        ("hello", '"hello"'),
        ("", '""'),
        ("é\u2028😀", '"é\u2028😀"'),
        ("a\nb\r\x00", '"a\\nb\\r\\u0000"'),
        ({"a": 1, "b": [True, None]}, '{"a":1,"b":[true,null]}'),
        (MappingProxyType({"a": 1}), '{"a":1}'),
        ([1, 2.5], "[1,2.5]"),
        (3, "3"),
        (True, "true"),
        (Point(x=1), '{"x":1,"label":null}'),
        (Pair(1, "r"), '{"left":1,"right":"r"}'),
        (Pair(Point(x=1), Colour.RED), '{"left":{"x":1,"label":null},"right":"red"}'),
        (
            {
                "d": datetime.date(2026, 1, 2),
                "t": datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.timezone.utc),
                "u": uuid.UUID(int=1),
                "n": decimal.Decimal("1.10"),
            },
            '{"d":"2026-01-02","t":"2026-01-02T03:04:00+00:00",'
            '"u":"00000000-0000-0000-0000-000000000001","n":"1.10"}',
        ),
        (OddJson('{\n "a": 1\r\n}'), '{  "a": 1  }'.replace("{  ", "{  ")),
    ],
)
def test_the_default_codec(chunk: Any, text: str) -> None:
    assert encode(chunk) == text
    assert json.loads(encode(chunk)) == json.loads(text)


def test_an_sdk_event_keeps_its_wire_json() -> None:
    wire = {
        "content_index": 0,
        "delta": "hi",
        "item_id": "x",
        "logprobs": [],
        "output_index": 0,
        "sequence_number": 1,
        "type": "response.output_text.delta",
        "obfuscation": "a",
    }
    event = ResponseTextDeltaEvent.model_validate(wire)
    assert json.loads(encode(event)) == wire


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (None, "yielded None"),
        (b"x", 'yielded bytes: decode it first, or set codec="bytes"'),
        (bytearray(b"x"), "yielded bytearray"),
        (float("nan"), "chunk: nan is not JSON compliant"),
        ({"a": object()}, r"chunk\.a: object is not data; yield what the page needs"),
        (OddJson(b"{}"), "to_json.. returned bytes"),
        (OddJson("not json"), "could not encode a chunk of type OddJson"),
    ],
)
def test_what_the_default_codec_refuses(chunk: Any, message: str) -> None:
    with pytest.raises(EncodeError, match=message):
        encode(chunk)


class TestCustomEncoder:
    def test_its_string_is_kept_as_a_json_string(self) -> None:
        encoder = wire_encoder(get_codec(encoder=lambda chunk: f"<{chunk}>\n"))
        assert encoder(1) == '"<1>\\n"'

    def test_an_empty_string_makes_no_chunk(self) -> None:
        assert wire_encoder(get_codec(encoder=lambda chunk: ""))("x") == ""

    @pytest.mark.parametrize(
        ("answer", "message"),
        [(b"x", r"returned bytes, not str: decode the bytes"), (None, "returned NoneType"),
         (5, "returned int")],
    )  # fmt: skip
    def test_anything_but_str_is_refused(self, answer: Any, message: str) -> None:
        with pytest.raises(EncodeError, match=message):
            wire_encoder(get_codec(encoder=lambda chunk: answer))("x")

    def test_its_error_is_named(self) -> None:
        def failing(chunk: Any) -> str:
            raise KeyError("delta")

        with pytest.raises(EncodeError, match=r"codec 'failing' .* KeyError: 'delta'"):
            wire_encoder(get_codec(encoder=failing))({})


@given(st.text(st.characters(codec=None)))
def test_any_text_survives(text: str) -> None:
    for codec in (JSON, get_codec(encoder=str)):
        wire = wire_encoder(codec)(text)
        if not wire:
            continue
        assert "\n" not in wire
        back = decode_wire(codec, utf8(wire).decode())
        # Two halves that stand side by side come back as the whole they are.
        assert back == text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


class TestRegistry:
    def test_by_name(self) -> None:
        codec = register_codec("test-upper", str.upper, str.lower)
        assert get_codec("test-upper") is codec
        assert decode_wire(codec, wire_encoder(codec)("abc")) == "abc"

    def test_the_same_again_is_fine(self) -> None:
        register_codec("test-same", str.upper, str.lower)
        register_codec("test-same", str.upper, str.lower)

    def test_another_of_that_name_is_refused(self) -> None:
        register_codec("test-taken", str.upper)
        with pytest.raises(ConfigurationError, match="registered already"):
            register_codec("test-taken", str.lower)

    def test_unknown(self) -> None:
        with pytest.raises(ConfigurationError, match=r"unknown codec 'jsno'; known: .*json"):
            get_codec("jsno")

    def test_not_functions(self) -> None:
        with pytest.raises(ConfigurationError, match="must be functions"):
            register_codec("test-bad", "x")  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="must be a function"):
            get_codec(encoder="x")  # type: ignore[arg-type]

    def test_both(self) -> None:
        with pytest.raises(ConfigurationError, match="not both"):
            get_codec("json", encoder=str)

    def test_an_object(self) -> None:
        codec = Codec("own", str, str)
        assert get_codec(codec) is codec


def test_classes_that_are_made_for_a_request_are_not_kept_for_ever() -> None:
    def made() -> weakref.ref[type]:
        kind = dataclasses.make_dataclass("Answer", ["text"])
        assert wire_encoder(JSON)(kind("hello")) == '{"text":"hello"}'
        return weakref.ref(kind)

    first = made()
    for _ in range(2000):
        made()
    gc.collect()
    assert first() is None


class TestBytes:
    def test_pieces_are_base64(self) -> None:
        codec = get_codec("bytes")
        assert codec.kind == "bytes"
        for piece in (b"\xff\x00", bytearray(b"abc"), memoryview(b"abc")):
            assert decode_wire(codec, wire_encoder(codec)(piece)) == bytes(piece)

    def test_an_empty_piece_is_no_chunk(self) -> None:
        assert wire_encoder(get_codec("bytes"))(b"") == ""

    def test_anything_else_is_refused(self) -> None:
        with pytest.raises(EncodeError, match="takes bytes, not str"):
            wire_encoder(get_codec("bytes"))("abc")
