"""Plain server-sent events, byte for byte."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstraight_celery.offsets import Offset, Segment, Verdict
from streamstraight_celery.relays.requests import Entry
from streamstraight_celery.server.content import Content
from streamstraight_celery.server.http import Refused, Request
from streamstraight_celery.server.reads.plain_sse import (
    PlainCall,
    PlainFrames,
    had_all_reply,
    parse_plain,
    reset_reply,
    target_of,
)

from .plain import FakeLog, parse_plain_text

DOOR = PlainFrames()
OFFSET = "000002_0000000004_bbbbbbbb"
FAILURES = ["producer-error", "producer-disconnected", "inactivity-timeout", "too-large", "expired"]


def test_one_event_a_chunk_each_with_the_offset_of_its_own_attempt() -> None:
    frame = DOOR.data(Entry(2, 4, b'{"n":2}\n"three"\n4'), OFFSET, FakeLog())
    assert frame == (
        b'id: 000001_0000000002_aaaaaaaa\ndata: {"n":2}\n\n'
        b'id: 000002_0000000003_bbbbbbbb\ndata: "three"\n\n'
        b"id: 000002_0000000004_bbbbbbbb\ndata: 4\n\n"
    )


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("plain", b"data: plain\n"),
        ("  two spaces stay", b"data:   two spaces stay\n"),
        ("a\nb\r\nc\rd", b"data: a\ndata: b\ndata: c\ndata: d\n"),
        ("end\n", b"data: end\ndata: \n"),
        ("\n", b"data: \ndata: \n"),
        ("id: 7", b"data: id: 7\n"),
        # Line breaks elsewhere, but not here.
        ("a\u2028b\x0bc\x0cd\x85e", "data: a\u2028b\x0bc\x0cd\x85e\n".encode()),
        ("half \ud83d", "data: half \ufffd\n".encode()),
    ],
)
def test_text_is_sent_as_its_lines(text: str, data: bytes) -> None:
    frame = DOOR.data(Entry(3, 3, json.dumps(text).encode()), OFFSET, FakeLog("text"))
    assert frame == b"id: 000002_0000000003_bbbbbbbb\n" + data + b"\n"


@pytest.mark.parametrize(
    ("media_type", "data"),
    [
        ("text/plain", "data: \u00e4\ndata:  b\ufffd\n".encode()),
        ("application/octet-stream", b"data: w6QKIGLD\n"),
    ],
)
def test_bytes_are_text_or_base64(media_type: str, data: bytes) -> None:
    stored = b'"%b"' % b64encode(b"\xc3\xa4\n b\xc3")
    log = FakeLog("bytes", Content("bytes", media_type))
    frame = DOOR.data(Entry(3, 3, stored), OFFSET, log)
    assert frame == b"id: 000002_0000000003_bbbbbbbb\n" + data + b"\n"


@pytest.mark.parametrize(
    ("chunk", "line"),
    [
        ({"type": "text-delta"}, b"event: text-delta\n"),
        ({"type": "two words"}, b"event: two words\n"),
        # No names of events.
        ({"type": "a\nid: 7"}, b""),
        ({"type": "a\rdata: x"}, b""),
        ({"type": " a"}, b""),
        ({"type": ""}, b""),
        ({"type": "x" * 65}, b""),
        ({"type": 7}, b""),
        ({"kind": "a"}, b""),
        ("type", b""),
        # They would look like the end of the stream.
        ({"type": "end"}, b""),
        ({"type": "failed"}, b""),
        ({"type": "reset"}, b""),
    ],
)
def test_a_field_of_the_chunk_names_its_event(chunk: object, line: bytes) -> None:
    stored = json.dumps(chunk).encode()
    frame = PlainFrames("type").data(Entry(3, 3, stored), OFFSET, FakeLog())
    assert frame == line + b"id: 000002_0000000003_bbbbbbbb\ndata: " + stored + b"\n\n"


def test_an_envelope_gives_what_is_sent() -> None:
    sent = {1: {"n": 1}, 2: "<p>\n</p>", 3: None, 4: ["\u00e4"]}
    frames = PlainFrames("", lambda chunk: sent[chunk])
    frame = frames.data(Entry(1, 4, b"1\n2\n3\n4"), OFFSET, FakeLog())
    assert frame == (
        b'id: 000001_0000000001_aaaaaaaa\ndata: {"n":1}\n\n'
        b"id: 000001_0000000002_aaaaaaaa\ndata: <p>\ndata: </p>\n\n"
        b'id: 000002_0000000004_bbbbbbbb\ndata: ["\\u00e4"]\n\n'
    )


def test_an_envelope_and_a_name_are_both_of_the_chunk() -> None:
    frames = PlainFrames("type", lambda chunk: chunk["text"])
    frame = frames.data(Entry(3, 3, b'{"type":"delta","text":"Hi"}'), OFFSET, FakeLog())
    assert frame == b"event: delta\nid: 000002_0000000003_bbbbbbbb\ndata: Hi\n\n"


@pytest.mark.parametrize(
    ("content", "value"),
    [("text/plain", "h\u00e4\ufffd"), ("application/octet-stream", b"h\xc3\xa4\xc3")],
)
def test_an_envelope_gets_bytes_as_their_content_type_says(content: str, value: object) -> None:
    log = FakeLog("bytes", Content("bytes", content))
    got: list[object] = []
    stored = b'"%b"' % b64encode(b"h\xc3\xa4\xc3")
    PlainFrames("", got.append).data(Entry(3, 3, stored), OFFSET, log)
    assert got == [value]


def test_events_are_named_as_the_request_asks() -> None:
    assert parse_plain(Request("GET", "/", "event=type")).event == "type"
    with pytest.raises(Refused, match="names a field"):
        parse_plain(Request("GET", "/", f"event={'x' * 65}"))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_readers_get_every_text_back(texts: list[str]) -> None:
    stored = b"\n".join(json.dumps(text, ensure_ascii=False).encode() for text in texts)
    log = FakeLog("text", segments=(Segment(1, "aaaaaaaa", len(texts)),))
    read = parse_plain_text(DOOR.data(Entry(1, len(texts), stored), OFFSET, log))
    assert read.messages == [t.replace("\r\n", "\n").replace("\r", "\n") for t in texts]
    assert [event.id for event in read.events] == [
        str(log.offset(seq)) for seq in range(1, len(texts) + 1)
    ]


@pytest.mark.parametrize("reason", ["completed", "stopped"])
def test_a_good_end(reason: str) -> None:
    expected = f"event: end\nid: {OFFSET}.{reason}\ndata: [DONE]\n\n"
    assert DOOR.end(OFFSET, reason, "") == expected.encode()
    assert DOOR.completes(reason)


@pytest.mark.parametrize("reason", [*FAILURES, "another-reason"])
@pytest.mark.parametrize("error", ["", "not json", "[]", '{"code":"c","message":"m\\n\\ud83d"}'])
def test_a_failure_is_an_error_to_all(reason: str, error: str) -> None:
    (event,) = parse_plain_text(DOOR.end(OFFSET, reason, error)).events
    assert (event.name, event.id) == ("failed", f"{OFFSET}.{reason}")
    data = json.loads(event.data)
    assert data["type"] == "error"  # for useChat
    assert isinstance(data["errorText"], str)
    assert data["error"]["message"] == data["errorText"]  # for the OpenAI clients
    if error.startswith("{"):
        assert data["error"] == {"code": "c", "message": "m\n\ud83d"}
    assert not DOOR.completes(reason)


def test_a_reason_that_is_none_cannot_write_lines_of_its_own() -> None:
    frame = DOOR.end(OFFSET, "x\n\ndata: injected", "")
    (event,) = parse_plain_text(frame).events
    assert (event.name, event.id) == ("failed", f"{OFFSET}.unknown")


def test_what_breaks_off_before_the_end() -> None:
    assert not DOOR.completes("")
    assert DOOR.farewell(OFFSET, Verdict.VALID) == b""
    (event,) = parse_plain_text(DOOR.farewell(OFFSET, Verdict.SUPERSEDED)).events
    assert (event.name, event.id) == ("reset", f"{OFFSET}.reset")
    assert json.loads(event.data)["error"]["code"] == "superseded"
    (event,) = parse_plain_text(DOOR.farewell(OFFSET, Verdict.GONE)).events
    assert (event.name, event.id) == ("failed", f"{OFFSET}.gone")


@pytest.mark.parametrize(
    "note", [DOOR.ping, DOOR.hello(OFFSET, "", "queued"), DOOR.control(OFFSET, True, "")]
)
def test_notes_are_comments_without_a_blank_line(note: bytes) -> None:
    assert note == b"" or (note.startswith(b":") and note.count(b"\n") == 1)


def call(query: str = "", **headers: str) -> PlainCall:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return parse_plain(Request("GET", "/v1/sse/x", query, given))


def test_where_a_reader_begins() -> None:
    offset = Offset.parse(OFFSET)
    assert call() == PlainCall("-1")
    assert call("offset=now") == PlainCall("now")
    assert call(f"offset={OFFSET}") == PlainCall(offset)
    assert call("offset=-1", last_event_id=OFFSET) == PlainCall(offset, "", True)
    assert call(last_event_id=f"{OFFSET}.stopped") == PlainCall(offset, "stopped", True)
    assert call(f"offset={OFFSET}.completed") == PlainCall(offset, "completed")


@pytest.mark.parametrize(
    "offset", ["nonsense", "0", OFFSET + ".", OFFSET + ".UP", OFFSET + ".a.b", OFFSET + ".a\n"]
)
def test_a_malformed_position(offset: str) -> None:
    for refused in (lambda: call(last_event_id=offset), lambda: call(f"offset={offset}")):
        with pytest.raises(Refused) as caught:
            refused()
        assert (caught.value.status, caught.value.code) == (400, "malformed-offset")


def test_who_had_all_stays_away() -> None:
    reply = had_all_reply(PlainCall(Offset.parse(OFFSET), "completed", True))
    assert (reply.status, reply.body) == (204, b"")
    assert ("stream-end-reason", "completed") in reply.headers


def test_a_reset_is_the_last_event_of_an_event_source() -> None:
    reply = reset_reply(PlainCall(Offset.parse(OFFSET), "", True))
    (event,) = parse_plain_text(reply.body).events
    assert (event.name, event.id) == ("reset", f"{OFFSET}.reset")
    assert json.loads(event.data)["error"]["code"] == "superseded"
    assert call(last_event_id=event.id).mark == "reset"


def test_where_openai_clients_ask() -> None:
    assert target_of("/v1/sse/x") == "/v1/sse/x"
    assert target_of("/v1/sse/x/responses") == "/v1/sse/x"
    assert target_of("/v1/sse/responses") == "/v1/sse/responses"
    assert target_of("/v1/sse/responses/responses") == "/v1/sse/responses"
    assert target_of("/v1/sse/x/chat/completions") == "/v1/sse/x"
    assert target_of("/v1/sse/x/embeddings") == "/v1/sse/x/embeddings"
