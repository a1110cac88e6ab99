"""Bodies to chunks and back, by content type: pure functions."""

from __future__ import annotations

import json
from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstraight_celery.relays.requests import Entry
from streamstraight_celery.server.content import (
    BYTES,
    JSON,
    JSON_CONTENT,
    PIECE_BYTES,
    Content,
    MalformedContentError,
    content_of,
    media_type_of,
    messages_of,
    pieces_of,
)

TEXT = Content("bytes", "text/plain")
BINARY = Content("bytes", BYTES)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
blanks = st.text(alphabet=" \t\r\n", max_size=3)


def entry(chunks: list[bytes], first: int = 1) -> Entry:
    return Entry(first, first + len(chunks) - 1, b"\n".join(chunks))


def sse_data(event: bytes) -> str:
    """What a reader makes of `data:` lines."""
    lines = event.decode().split("\n")
    assert lines.pop() == ""
    assert all(line.startswith("data:") for line in lines)
    return "\n".join(line.removeprefix("data:").removeprefix(" ") for line in lines)


class TestMessages:
    @pytest.mark.parametrize(
        ("body", "messages"),
        [
            ("1", ["1"]),
            (' {"a": 1} \r\n', ['{"a": 1}']),
            ("[1,2]", ["1", "2"]),
            ("[ 1 ,\n\t2\r\n]", ["1", "2"]),
            ("[[1,2],[3]]", ["[1,2]", "[3]"]),
            ("[[[]]]", ["[[]]"]),
            ("[[]]", ["[]"]),
            ("[]", []),
            ("[ \n ]", []),
            ('"[1,2]"', ['"[1,2]"']),
            ('["a,b]", "\\"]"]', ['"a,b]"', '"\\"]"']),
            ('{"a":\n[1,\r\n2]}', ['{"a": [1,  2]}']),
            ("null", ["null"]),
            # Texts stay as they are: neither numbers nor keys are made into something else.
            ("[1e400, 1.0, 1E5, -0, 0.1e-7]", ["1e400", "1.0", "1E5", "-0", "0.1e-7"]),
            ("9" * 4300, ["9" * 4300]),
            ('{"a":1,"a":2}', ['{"a":1,"a":2}']),
            ('"\\ud800"', ['"\\ud800"']),
            ('"\\u0000\\n"', ['"\\u0000\\n"']),
            ('"caf\xe9 \u2028\U0001f600"', ['"caf\xe9 \u2028\U0001f600"']),
        ],
    )
    def test_one_level_of_array_is_taken_off(self, body: str, messages: list[str]) -> None:
        assert messages_of(body.encode()) == [message.encode() for message in messages]

    @pytest.mark.parametrize(
        "body",
        [
            b"", b" ", b"[", b"[1", b"[1,]", b"[,1]", b"{", b"1 2", b"[1] [2]", b"[1]x", b"nul",
            b"NaN", b"Infinity", b"-Infinity", b"[NaN]", b'{"a":NaN}', b"'a'", b"{a:1}", b"01",
            b"+1", b".5", b"1.", b"0x1", b"1_000", b'"\n"', b'"\t"', b'"a', b'"\\x"',
            b"\xef\xbb\xbf1", b"\xff", b'"\xff"', b'"\xed\xa0\x80"', b'"\xc0\xaf"', b"\x00",
            b"\x0b1", b"\xc2\xa01", "1\u2028".encode(), "\u0661".encode(), b"1//x", b"/**/1",
        ],
    )  # fmt: skip
    def test_what_is_no_json_is_refused(self, body: bytes) -> None:
        with pytest.raises(MalformedContentError):
            messages_of(body)

    @pytest.mark.parametrize("opener", [b"[", b'{"a":'])
    def test_too_deep_is_refused_not_crashed(self, opener: bytes) -> None:
        with pytest.raises(MalformedContentError):
            messages_of(opener * 1_000_000)
        closer = b"]" if opener == b"[" else b"}"
        with pytest.raises(MalformedContentError):
            messages_of(opener * 500_000 + b"1" + closer * 500_000)

    @given(st.lists(values, max_size=5), blanks, st.booleans())
    def test_no_value_is_changed(self, items: list[object], blank: str, pretty: bool) -> None:
        text = json.dumps(items, indent=1 if pretty else None, ensure_ascii=pretty)
        text = text.encode("utf-8", "replace").decode()
        items = json.loads(text)
        chunks = messages_of((blank + text + blank).encode())
        assert [json.loads(chunk) for chunk in chunks] == items
        assert not any(b"\n" in chunk or b"\r" in chunk for chunk in chunks)
        if chunks:
            assert json.loads(JSON_CONTENT.body([entry(chunks)])) == items
            assert json.loads(sse_data(JSON_CONTENT.event(entry(chunks)))) == items

    @given(st.binary(max_size=60))
    def test_anything_else_is_refused_alike(self, body: bytes) -> None:
        try:
            expected = json.loads(body.decode("utf-8"), parse_constant=lambda name: 1 / 0)
        except (ValueError, ZeroDivisionError):
            with pytest.raises(MalformedContentError):
                messages_of(body)
        else:
            wanted = expected if isinstance(expected, list) else [expected]
            assert [json.loads(chunk) for chunk in messages_of(body)] == wanted


class TestPieces:
    @pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1])
    def test_a_body_comes_back_whole(self, size: int) -> None:
        body = bytes(index % 256 for index in range(size))
        chunks = pieces_of(body)
        assert all(isinstance(json.loads(chunk), str) for chunk in chunks)
        assert len(chunks) == -(-size // PIECE_BYTES)
        assert BINARY.body([entry(chunks)] if chunks else []) == body

    @given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=4))
    def test_in_base64_by_sse(self, bodies: list[bytes]) -> None:
        chunks = [chunk for body in bodies for chunk in pieces_of(body)]
        event = BINARY.event(entry(chunks))
        assert event.count(b"\n") == 1
        assert b64decode(sse_data(event), validate=True) == b"".join(bodies)

    @given(st.text(min_size=1).filter(lambda text: text.encode("utf-8", "ignore") != b""))
    def test_as_text_by_sse(self, text: str) -> None:
        body = text.encode("utf-8", "ignore")
        # Carriage returns cannot be told from line feeds there: the format knows lines only.
        shown = body.decode().replace("\r\n", "\n").replace("\r", "\n")
        assert sse_data(TEXT.event(entry(pieces_of(body)))) == shown
        assert TEXT.body([entry(pieces_of(body))]) == body

    def test_spaces_at_the_beginning_of_a_line_stay(self) -> None:
        assert sse_data(TEXT.event(entry(pieces_of(b" a\n  b\n c ")))) == " a\n  b\n c "

    def test_no_text_can_look_like_another_field(self) -> None:
        event = TEXT.event(entry(pieces_of(b"a\nevent: control\rid: 9\r\n\r\n:x\n data: y")))
        assert all(line.startswith(b"data:") for line in event.splitlines())

    def test_half_a_character_is_shown_as_such_by_sse_alone(self) -> None:
        chunks = pieces_of("\u20ac".encode()[:2])
        assert sse_data(TEXT.event(entry(chunks))) == "\ufffd"
        assert TEXT.body([entry(chunks)]) == "\u20ac".encode()[:2]

    def test_halves_in_one_entry_are_whole(self) -> None:
        whole = "\u20ac".encode()
        chunks = [*pieces_of(whole[:1]), *pieces_of(whole[1:])]
        assert sse_data(TEXT.event(entry(chunks))) == "\u20ac"


class TestMediaTypes:
    @pytest.mark.parametrize(
        ("header", "media_type"),
        [
            ("application/json", JSON),
            ("Application/JSON; charset=utf-8", JSON),
            (" text/plain ;x=y;z", "text/plain"),
            ("application/vnd.api+json", "application/vnd.api+json"),
            ("a/b", "a/b"),
        ],
    )
    def test_parameters_and_case_do_not_count(self, header: str, media_type: str) -> None:
        assert media_type_of(header) == media_type

    @pytest.mark.parametrize(
        "header",
        ["", "json", "a/", "/b", "a/b/c", "a b/c", "a/b c", "a/b,c/d", ";a/b", "\xe9/b",
         "a\x00/b", "\u0131/b", "a/\x85b"],
    )  # fmt: skip
    def test_what_is_none_is_refused(self, header: str) -> None:
        with pytest.raises(MalformedContentError):
            media_type_of(header)

    @pytest.mark.parametrize(
        ("media_type", "in_base64"),
        [("text/plain", False), ("text/html", False), (BYTES, True), ("image/png", True),
         ("application/ndjson", True)],
    )  # fmt: skip
    def test_only_text_is_text(self, media_type: str, in_base64: bool) -> None:
        assert content_of("bytes", media_type).in_base64 is in_base64

    @pytest.mark.parametrize("kind", ["json", "text"])
    def test_a_workers_chunks_are_json(self, kind: str) -> None:
        assert content_of(kind, "") == JSON_CONTENT
        assert not content_of(kind, JSON).in_base64

    def test_a_workers_bytes_are_bytes(self) -> None:
        assert content_of("bytes", "") == BINARY
