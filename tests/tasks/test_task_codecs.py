"""What a task yields, how it is encoded on its way, and what becomes of what cannot be."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import uuid
from collections import UserDict
from collections.abc import Callable, Iterator
from typing import Any

import pydantic
import pytest
from celery import Celery

from streamstraight_celery import StreamTask, stream_task
from streamstraight_celery.codecs import get_codec
from streamstraight_celery.errors import ChunkTooLargeError, ConfigurationError, EncodeError
from streamstraight_celery.relays.requests import Read
from tests.support.wire import decode_wire
from tests.tasks.apps import encoding
from tests.tasks.log import ended_log, relay_of
from tests.tasks.processes import PATIENCE

pytestmark = pytest.mark.usefixtures("prefork")

MakeApp = Callable[..., Celery]


def wire(app: Celery, stream_id: str) -> bytes:
    """The log of an ended stream, as its bytes are stored."""
    ended_log(app, stream_id)
    page = relay_of(app).read(Read(stream_id, attempt=1, limit=1000))
    assert page is not None
    return b"\n".join(entry.data for entry in page.entries)


# -- the default codec


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Usage:
    tokens: int
    cost: decimal.Decimal


class Delta(pydantic.BaseModel):
    text: str
    when: datetime.datetime


WHEN = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
ID = uuid.UUID(int=7)

CHUNKS = [
    ("words", "words"),
    ("", ""),
    ("two\nlines\r\nand \u2028 more", "two\nlines\r\nand \u2028 more"),
    ('quotes " and \\ and \0', 'quotes " and \\ and \0'),
    ("🙂 ünïcode", "🙂 ünïcode"),
    (7, 7),
    (1.5, 1.5),
    (True, True),
    ([1, [2, {"three": None}]], [1, [2, {"three": None}]]),
    ({"type": "delta", "text": "hi"}, {"type": "delta", "text": "hi"}),
    (UserDict(a=1), {"a": 1}),
    (Usage(3, decimal.Decimal("0.10")), {"tokens": 3, "cost": "0.10"}),
    (Delta(text="hi", when=WHEN), {"text": "hi", "when": "2030-01-02T03:04:05Z"}),
    (
        {"when": WHEN, "day": WHEN.date(), "time": WHEN.time(), "id": ID},
        {
            "when": "2030-01-02T03:04:05+00:00",
            "day": "2030-01-02",
            "time": "03:04:05",
            "id": str(ID),
        },
    ),
    (
        [Colour.RED, Level.HIGH, {"nested": Usage(1, decimal.Decimal(2))}],
        ["red", 3, {"nested": {"tokens": 1, "cost": "2"}}],
    ),
    (
        {"model": Delta(text="hi", when=WHEN)},
        {"model": {"text": "hi", "when": "2030-01-02T03:04:05Z"}},
    ),
]


@pytest.fixture
def eager(another_app: MakeApp, mark: str) -> Celery:
    """Tasks that run in this process, whose chunks need not be passed as JSON."""
    return another_app(task_always_eager=True, stream_relay_url=f"memory://{mark}")


def test_the_default_codec_takes_what_llm_code_yields(eager: Celery) -> None:
    @eager.task(base=StreamTask, shared=False, name="yielding")
    def yielding() -> Iterator[Any]:
        yield from (chunk for chunk, _ in CHUNKS)

    stream = yielding.stream()

    assert ended_log(eager, stream.id).chunks == [expected for _, expected in CHUNKS]


def test_the_events_of_the_sdks_keep_their_wire_json(app: Celery) -> None:
    log = ended_log(app, encoding.events.stream().id)

    assert [chunk["type"] for chunk in log.chunks] == [
        "response.output_text.delta", "content_block_delta",
    ] * 2  # fmt: skip
    assert log.chunks[0]["delta"] == "Hel"
    assert log.chunks[3] == {
        "type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"},
    }  # fmt: skip


def test_chunks_pass_a_worker_unchanged(app: Celery) -> None:
    chunks = ["one\ntwo", "", {"a": ["ü", None]}, 7, "🙂"]

    assert ended_log(app, encoding.echo.stream(*chunks).id).chunks == chunks


def test_each_chunk_is_stored_on_a_line_of_its_own(app: Celery) -> None:
    stored = wire(app, encoding.echo.stream("one\ntwo", {"a": "ü"}).id)

    assert stored == b'"one\\ntwo"\n' + '{"a":"ü"}'.encode()


def test_halves_of_an_emoji_survive(app: Celery) -> None:
    stream = encoding.surrogates.stream()

    assert ended_log(app, stream.id).chunks == ["\ud83d", {"delta": "\ude00"}]
    assert wire(app, stream.id).isascii()


# -- codecs and encoders of one's own


def test_an_encoder_s_string_is_the_chunk(app: Celery) -> None:
    assert ended_log(app, encoding.stripped.stream(" one ", "two").id).chunks == ["one", "two"]


def test_an_empty_string_of_an_encoder_is_no_chunk(app: Celery) -> None:
    stream = encoding.stripped.stream("one", "  ", "", "two", " ")

    log = ended_log(app, stream.id)

    assert (log.chunks, log.state.last) == (["one", "two"], 2)
    assert stream.result.get(timeout=PATIENCE)["chunks"] == 2


def test_a_registered_codec_encodes_and_decodes(app: Celery) -> None:
    stream = encoding.loud.stream("one", "two\nlines")

    log = ended_log(app, stream.id)

    assert log.chunks == ["ONE", "TWO\nLINES"]
    assert log.state.kind == "text"
    codec = get_codec("upper")
    lines = wire(app, stream.id).decode().split("\n")
    assert [decode_wire(codec, line) for line in lines] == ["one", "two\nlines"]


def test_a_json_codec_s_text_is_stored_as_it_is_on_one_line(app: Celery) -> None:
    stream = encoding.spaced.stream({"a": [1]})

    assert ended_log(app, stream.id).chunks == [{"a": [1]}]
    assert stream.state().kind == "json"
    assert wire(app, stream.id).split() == [b"{", b'"a":', b"[", b"1", b"]", b"}"]


def test_a_codec_may_be_given_as_an_object(app: Celery) -> None:
    assert ended_log(app, encoding.with_colon.stream("one").id).chunks == [":one"]


def test_the_app_s_codec_is_for_tasks_that_name_none(another_app: MakeApp, mark: str) -> None:
    other = another_app(
        task_always_eager=True, stream_relay_url=f"memory://{mark}", stream_codec="upper"
    )

    plain = other.tasks[encoding.echo.name].stream("one")
    named = other.tasks[encoding.spaced.name].stream("one")
    encoded = other.tasks[encoding.stripped.name].stream("one")

    assert ended_log(other, plain.id).chunks == ["ONE"]
    assert ended_log(other, named.id).chunks == ["one"]
    assert ended_log(other, encoded.id).chunks == ["one"]


def test_an_unknown_codec_is_refused_at_decoration() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown codec 'jsn'; known: .*json.*upper"):
        stream_task(codec="jsn")


def test_a_codec_and_an_encoder_are_one_too_many() -> None:
    with pytest.raises(ConfigurationError, match="either codec= or encoder=, not both"):
        stream_task(codec="json", encoder=str)


def test_a_class_s_codec_is_checked_too() -> None:
    with pytest.raises(ConfigurationError, match="unknown codec 'nope'"):

        class Wrong(StreamTask):
            codec = "nope"


def test_an_unknown_codec_of_the_app_is_refused_at_enqueue(another_app: MakeApp) -> None:
    other = another_app(stream_codec="nope")

    with pytest.raises(ConfigurationError, match="unknown codec 'nope'"):
        other.tasks[encoding.echo.name].apply_stream(("x",), queue="nobody")


# -- what cannot be encoded


UNSENT = {"code": "encode-error", "message": "The answer could not be sent."}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("bytes", "the generator yielded bytes: decode it first"),
        ("bytearray", "the generator yielded bytearray: decode it first"),
        ("None", "the generator yielded None: yield the chunk, or do not yield"),
        ("nan", "chunk: nan is not JSON compliant"),
        ("nested nan", r"chunk\.score\[0\]: nan is not JSON compliant"),
        ("object", "chunk: object is not data"),
        ("nested object", r"chunk\.agent\.tools\[0\]: object is not data"),
    ],
)
def test_a_chunk_that_cannot_be_encoded_fails_the_task_and_ends_the_stream(
    app: Celery, kind: str, message: str
) -> None:
    stream = encoding.spoiling.stream(kind)

    log = ended_log(app, stream.id)

    assert log.chunks == ["kept one", "kept two"]
    assert (log.end, log.error) == ("producer-error", UNSENT)
    with pytest.raises(EncodeError, match=message):
        stream.result.get(timeout=PATIENCE)


@pytest.mark.parametrize("kind", ["large", "large in bytes"])
def test_a_chunk_that_is_too_large_fails_the_task_and_ends_the_stream(
    app: Celery, kind: str
) -> None:
    stream = encoding.spoiling.stream(kind)

    log = ended_log(app, stream.id)

    assert log.chunks == ["kept one", "kept two"]
    assert log.end == "too-large"
    assert log.error == {
        "code": "chunk-too-large",
        "message": "A part of the answer is too large.",
    }
    with pytest.raises(ChunkTooLargeError, match=r"larger than stream_max_chunk_bytes \(65536\)"):
        stream.result.get(timeout=PATIENCE)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("bytes", "codec 'wrong' returned bytes, not str: decode the bytes"),
        ("None", "codec 'wrong' returned NoneType, not str"),
        ("error", "codec 'wrong' could not encode .*: ZeroDivisionError: in the encoder"),
    ],
)
def test_an_encoder_that_goes_wrong_fails_the_task_and_ends_the_stream(
    app: Celery, kind: str, message: str
) -> None:
    stream = encoding.spoilt_by_encoder.stream(kind)

    log = ended_log(app, stream.id)

    assert log.chunks == ["kept one", "kept two"]
    assert (log.end, log.error) == ("producer-error", UNSENT)
    with pytest.raises(EncodeError, match=message):
        stream.result.get(timeout=PATIENCE)


def test_a_stream_that_grows_too_large_ends(another_app: MakeApp, mark: str) -> None:
    other = another_app(
        task_always_eager=True, stream_relay_url=f"memory://{mark}", stream_max_bytes=1000
    )
    endless: list[bool] = []

    @other.task(base=StreamTask, shared=False, name="endless")
    def endless_task() -> Iterator[str]:
        try:
            while True:
                yield "x" * 100
        finally:
            endless.append(False)

    stream = endless_task.stream()

    log = ended_log(other, stream.id)
    assert log.end == "too-large"
    assert log.state.size <= 1000
    assert endless == [False]
    assert type(stream.result.result).__name__ == "StreamTooLargeError"


def test_json_s_own_text_is_what_is_stored(app: Celery) -> None:
    stored = wire(app, encoding.echo.stream({"a": 1, "b": [True, None, "x"]}).id)

    assert stored == json.dumps({"a": 1, "b": [True, None, "x"]}, separators=(",", ":")).encode()
