"""Streams that are not JSON, and the binary chunks of tasks: the same by every way to read."""

from __future__ import annotations

from base64 import b64encode
from itertools import count

import pytest

from streamstraight_celery.errors import DecodeError
from streamstraight_celery.relays.requests import Open, Write
from tests.clients.ways import Way
from tests.server.producer import Producer

_names = count(1)


class Written(Producer):
    """A stream written over HTTP, with the relay's own requests."""

    def __init__(self, way: Way, content_type: str) -> None:
        super().__init__(way.site.relay, f"written-{next(_names)}", "bytes")
        self.content_type = content_type
        answer = self.relay.call(
            Open(
                stream_id=self.stream_id,
                config=content_type,
                nonce="0badcafe",
                kind="bytes",
                content_type=content_type,
            )
        )
        assert answer.kind == "ok", answer

    def write(self, *pieces: bytes, end: str = "") -> None:
        data = b"\n".join([b'"%b"' % b64encode(piece) for piece in pieces])
        answer = self.relay.call(
            Write(
                stream_id=self.stream_id,
                content_type=self.content_type,
                count=len(pieces),
                data=data,
                end=end,
            )
        )
        assert answer.kind == "ok", answer


TEXT = ["[1,2]", "a\r\nb\rc\n", " d", "ü€😀", "{}", "e\n\n"]
BYTES = [b"\0\1\2", b"[1,2]", bytes(range(256)), b"\xff"]


def test_text(way: Way) -> None:
    stream = Written(way, "text/plain")
    stream.write(*[piece.encode() for piece in TEXT])
    places = [way.read(stream, take=number).reader.offset for number in range(1, 7)]
    stream.write(b"more", end="completed")
    assert way.read(stream).chunks == [*TEXT, "more"]
    for number, place in enumerate(places, start=1):
        assert way.read(stream, offset=place).chunks == [*TEXT, "more"][number:]


def test_bytes(way: Way) -> None:
    stream = Written(way, "image/png")
    stream.write(*BYTES)
    place = way.read(stream, take=2).reader.offset
    stream.write(b"more", end="completed")
    assert way.read(stream).chunks == [*BYTES, b"more"]
    assert way.read(stream, offset=place).chunks == [*BYTES[2:], b"more"]


def test_a_character_that_is_cut(way: Way) -> None:
    stream = Written(way, "text/plain")
    face = "😀".encode()
    stream.write(b"a" + face[:1])
    stream.write(face[1:3])
    stream.write(face[3:] + b"b", end="completed")
    assert "".join(way.read(stream).chunks) == "a😀b"


def test_half_a_character_at_the_end(way: Way) -> None:
    stream = Written(way, "text/plain")
    stream.write(b"a\xf0\x9f", end="completed")
    assert way.read(stream).chunks == ["a", "�"]


def test_binary_chunks_of_a_task(way: Way) -> None:
    producer = Producer(way.site.relay, kind="bytes").create().claim()
    producer.append(*[b64encode(piece).decode() for piece in BYTES])
    producer.end()
    reading = way.read(producer)
    assert reading.error is None
    assert reading.chunks == BYTES


def test_the_strings_of_a_codec_stay_strings(way: Way) -> None:
    producer = Producer(way.site.relay, kind="text").create().claim()
    producer.append("[1,2]", "YQ==")
    producer.end()
    assert way.read(producer).chunks == ["[1,2]", "YQ=="]


def test_types_and_decoders(way: Way) -> None:
    stream = Written(way, "text/plain")
    stream.write(b"12", b"x", end="completed")
    assert way.read(stream, type=str).chunks == ["12", "x"]
    assert way.read(stream, decoder=str.upper).chunks == ["12", "X"]
    reading = way.read(stream, type=int)
    assert isinstance(reading.error, DecodeError)
    binary = Written(way, "image/png")
    binary.write(b"\0", end="completed")
    assert way.read(binary, type=bytes).chunks == [b"\0"]
    assert way.read(binary, decoder=len).chunks == [1]
    assert isinstance(way.read(binary, type=int).error, DecodeError)


@pytest.mark.parametrize("content_type", ["text/plain", "image/png"])
def test_an_empty_stream(way: Way, content_type: str) -> None:
    stream = Written(way, content_type)
    stream.relay.call(Write(stream_id=stream.stream_id, end="completed"))
    reading = way.read(stream)
    assert (reading.chunks, reading.error) == ([], None)
    assert reading.reader.end_reason == "completed"
