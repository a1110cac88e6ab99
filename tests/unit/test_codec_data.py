"""The rule for what is data, at the top of a chunk and inside it."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import ipaddress
import json
import math
import pathlib
import typing
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
import pydantic
import pydantic.v1
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamstraight_celery.codecs import JSON, Codec, wire_encoder
from streamstraight_celery.errors import EncodeError

SECRET = "canary-7f3a"
encode = wire_encoder(JSON)
encode_null = wire_encoder(JSON, "null")


# A framework that this package has never heard of. Its agent looks like data while it is simple.


class Client:
    def __init__(self) -> None:
        self.api_key = SECRET


@dataclasses.dataclass
class Tool:
    name: str
    call: Callable[..., Any]


@dataclasses.dataclass
class Agent:
    name: str
    instructions: str
    tools: list[Tool] = dataclasses.field(default_factory=list)
    client: Client | None = None


@dataclasses.dataclass
class AgentEvent:
    delta: str
    agent: Agent | None = None


@dataclasses.dataclass
class AnyEvent:
    delta: str
    source: Any = None


class ModelAgent(pydantic.BaseModel):
    instructions: str
    tools: list[Callable[..., Any]] = []


class ModelEvent(pydantic.BaseModel):
    delta: str
    source: Any = None


class StructEvent(msgspec.Struct):
    delta: str
    source: Any = None


class V1Event(pydantic.v1.BaseModel):
    delta: str
    source: Any = None


AGENTS = [
    Agent("a", SECRET),
    Agent("a", SECRET, [Tool(SECRET, print)], Client()),
    ModelAgent(instructions=SECRET),
    Client(),
    type(SECRET, (), {}),
    lambda: SECRET,
    (each for each in [SECRET]),
    ValueError(SECRET),
    pydantic.SecretStr(SECRET),
]


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: type(agent).__name__)
@pytest.mark.parametrize("event", [AnyEvent, ModelEvent, StructEvent, V1Event])
def test_an_unknown_framework_fails_safe(event: type, agent: Any) -> None:
    chunk = event(delta="hi", source=agent)
    for nested, path in ((chunk, "chunk"), ({"data": [chunk]}, r"chunk\.data\[0\]")):
        with pytest.raises(EncodeError, match=rf"^{path}\.source.* is not data") as failed:
            encode(nested)
        assert SECRET not in str(failed.value)


def test_a_declaration_tells_before_there_is_anything_to_see() -> None:
    with pytest.raises(EncodeError, match=r"its agent\.tools\.call may hold a function"):
        encode(AgentEvent("hi"))


def test_the_path_leads_to_the_very_object() -> None:
    agent = Agent("a", SECRET, [Tool("t", print)])
    with pytest.raises(EncodeError, match=r"^chunk\.source\.tools\[0\]\.call: builtin_function"):
        encode(AnyEvent("hi", agent))
    with pytest.raises(EncodeError, match=r"^chunk\['two words'\]\[1\]: object is not data"):
        encode({"two words": [1, object()]})


# -- data


class Colour(enum.Enum):
    RED = "red"


class Word(str, enum.Enum):
    ONE = "one"


class Pair(typing.NamedTuple):
    left: int
    right: Any


@dataclasses.dataclass
class Late:
    """Its annotations cannot all be resolved at run time."""

    text: str
    of: NotThere = None  # type: ignore[name-defined] # noqa: F821
    _private: Any = dataclasses.field(default=print, repr=False)


class Shape:
    """A base class without fields: what it holds is known from the value."""


@dataclasses.dataclass
class Circle(Shape):
    radius: float


@dataclasses.dataclass
class Drawing:
    shapes: list[Shape]
    meta: dict[str, int | None] = dataclasses.field(default_factory=dict)


class Old(pydantic.v1.BaseModel):
    at: datetime.date
    inner: dict[str, Any] = {}


class Point(msgspec.Struct):
    x: int


DAY, ID = datetime.date(2026, 1, 2), uuid.UUID(int=7)


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ({3}, [3]),
        (frozenset(["a"]), ["a"]),
        (collections.deque([1, 2]), [1, 2]),
        (range(3), [0, 1, 2]),
        (collections.Counter("aa"), {"a": 2}),
        (collections.UserDict(a=1), {"a": 1}),
        ({"a": 1}.keys(), ["a"]),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (ipaddress.ip_address("::1"), "::1"),
        (decimal.Decimal("0.10"), "0.10"),
        (datetime.timedelta(days=1, seconds=1.5), "P1DT1.5S"),
        (datetime.timedelta(seconds=-90), "-PT1M30S"),
        (datetime.timedelta(0), "PT0S"),
        (Colour.RED, "red"),
        (Word.ONE, "one"),
        (Pair(1, DAY), [1, "2026-01-02"]),
        (Late("hi"), {"text": "hi", "of": None}),
        (Drawing([Circle(1.5)]), {"shapes": [{"radius": 1.5}], "meta": {}}),
        (Old(at=DAY, inner={"id": ID}), {"at": "2026-01-02", "inner": {"id": str(ID)}}),
        (Point(3), {"x": 3}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_usual_types_at_the_top_and_inside(value: Any, sent: Any) -> None:
    assert json.loads(encode(value)) == sent
    assert json.loads(encode({"a": [value]})) == {"a": [sent]}
    assert json.loads(encode(ModelEvent(delta="hi", source={"v": value})))["source"]["v"] == sent


def test_keys() -> None:
    keys = {ID: 1, DAY: 2, Colour.RED: 3, Word.ONE: 4, 5: 5, None: 6, decimal.Decimal("1.5"): 7}
    assert json.loads(encode({"a": keys})) == {
        "a": {str(ID): 1, "2026-01-02": 2, "red": 3, "one": 4, "5": 5, "null": 6, "1.5": 7}
    }
    with pytest.raises(EncodeError, match=r"^chunk\.a: a key of type tuple is not data; use a str"):
        encode({"a": {(1, 2): 3}})
    with pytest.raises(EncodeError, match="two keys become '2026-01-02'"):
        encode({DAY: 1, "2026-01-02": 2})


def test_bytes_inside_a_chunk() -> None:
    sent = {"type": "bytes", "base64": "/wA="}
    assert json.loads(encode({"audio": b"\xff\x00"})) == {"audio": sent}

    class Frame(pydantic.BaseModel):
        audio: bytes

    assert json.loads(encode(Frame(audio=b"\xff\x00"))) == {"audio": sent}
    assert json.loads(encode([Frame(audio=b"abc")]))[0]["audio"]["base64"] == "YWJj"


def test_what_contains_itself_or_is_too_deep_is_an_error() -> None:
    loop: list[Any] = []
    loop.append({"again": loop})
    with pytest.raises(EncodeError, match=r"chunk\[0\]\.again: list contains itself"):
        encode(loop)
    deep: dict[str, Any] = {}
    for _ in range(10_000):
        deep = {"a": deep}
    with pytest.raises(EncodeError, match="nested too deeply") as failed:
        encode(deep)
    assert len(str(failed.value)) < 300


# -- NaN


class Score(pydantic.BaseModel):
    value: float | None = None
    more: Any = None


class Constants(Score):
    model_config = pydantic.ConfigDict(ser_json_inf_nan="constants")


class Writes:
    def to_json(self) -> str:
        return json.dumps({"value": math.nan})


@dataclasses.dataclass
class Scored:
    value: float


NANS = [
    math.nan,
    -math.inf,
    {"a": [math.inf]},
    Score(value=math.nan),
    Score(more={"deep": [math.inf]}),
    Constants(value=math.nan),
    Constants(more={"deep": math.nan}),
    [Score(value=math.nan)],
    {"m": Constants(value=math.inf)},
    Writes(),
    [Writes()],
    Scored(math.nan),
    Old(at=DAY, inner={"x": math.nan}),
]


@pytest.mark.parametrize("chunk", NANS, ids=lambda chunk: type(chunk).__name__)
def test_nan_is_an_error_whichever_way_it_comes_or_null(chunk: Any) -> None:
    with pytest.raises(EncodeError, match=r"chunk.*(nan|inf) is not JSON compliant.*stream_nan"):
        encode(chunk)
    text = encode_null(chunk)
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} on the wire"))
    assert "null" in text


def test_the_words_nan_and_infinity_are_text() -> None:
    assert json.loads(encode(Score(more="NaN and Infinity")))["more"] == "NaN and Infinity"


def test_a_model_may_say_itself_how_nan_is_written() -> None:
    class AsNull(Score):
        model_config = pydantic.ConfigDict(ser_json_inf_nan="null")

    assert json.loads(encode(AsNull(value=math.nan)))["value"] is None


def test_a_codec_of_json_has_to_give_json() -> None:
    spoilt = Codec("own", str, json.loads, "json")
    assert wire_encoder(spoilt)('{"a": 1}') == '{"a": 1}'
    with pytest.raises(EncodeError, match="codec 'own' returned text that is not JSON"):
        wire_encoder(spoilt)("hello")
    with pytest.raises(EncodeError, match="codec 'own' returned NaN, which is not JSON"):
        wire_encoder(spoilt)('{"a":NaN}')
    assert wire_encoder(spoilt, "null")('{"a":NaN}') == '{"a":null}'


# -- models say themselves what they are


def test_a_model_s_own_serialisers_count() -> None:
    class Handle(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
        client: Client = pydantic.Field(exclude=True)
        key: pydantic.SecretStr
        made_by: Client

        @pydantic.field_serializer("made_by")
        def name_it(self, _: Client) -> str:
            return "me"

    handle = Handle(client=Client(), key=pydantic.SecretStr(SECRET), made_by=Client())
    for chunk in (handle, [handle]):
        assert SECRET not in encode(chunk)
        assert '"made_by":"me"' in encode(chunk)


def test_extra_fields_are_looked_at() -> None:
    class Loose(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow")

    assert encode(Loose(a=1)) == '{"a":1}'  # type: ignore[call-arg]
    with pytest.raises(EncodeError, match=r"chunk\.agent: Agent is not data"):
        encode(Loose(agent=Agent("a", SECRET)))  # type: ignore[call-arg]


def json_values() -> st.SearchStrategy[Any]:
    plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    plain = plain.filter(lambda value: not (isinstance(value, float) and math.isinf(value)))
    return st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(json_values().filter(lambda value: value is not None))
def test_json_values_pass_unchanged(value: Any) -> None:
    assert json.loads(encode(value)) == value


def test_private_fields_are_not_sent_from_anywhere() -> None:
    for chunk in (Late("hi", _private=SECRET), ModelEvent(delta="", source=Late("", None, SECRET))):
        assert SECRET not in encode(chunk)
