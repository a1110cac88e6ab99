"""Server-sent events, byte for byte."""

from __future__ import annotations

import json

import pytest

from streamstraight_celery.relays.requests import Entry
from streamstraight_celery.server.reads.durable_frames import DurableFrames, shown_error

from .plain import FakeLog

LOG = FakeLog()
DOOR = DurableFrames(lambda: "7")
OFFSET = "000001_0000000002_aaaaaaaa"


def test_data() -> None:
    frame = DOOR.data(Entry(1, 2, b'{"n":1}\n"two"'), OFFSET, LOG)
    assert frame == b'event: data\nid: 000001_0000000002_aaaaaaaa\ndata:[{"n":1},"two"]\n\n'


def test_control() -> None:
    start = b'event: control\ndata:{"streamNextOffset":"000001_0000000002_aaaaaaaa",'
    assert DOOR.control(OFFSET, True, "") == start + b'"streamCursor":"7","upToDate":true}\n\n'
    assert DOOR.control(OFFSET, False, "9") == start + b'"streamCursor":"9"}\n\n'


def test_hello_has_an_id_for_those_who_reconnect() -> None:
    hello = DOOR.hello(OFFSET, "", "queued")
    assert b"\nid: 000001_0000000002_aaaaaaaa\n" in hello
    assert hello.endswith(b',"upToDate":true,"status":"queued"}\n\n')


def test_end() -> None:
    frame = DOOR.end(OFFSET, "producer-error", '{"code":"c","message":"\u00e4\\n\\nevent: x"}')
    *_, data, empty, _ = frame.decode().split("\n")
    assert empty == ""
    assert json.loads(data.removeprefix("data:")) == {
        "streamNextOffset": OFFSET,
        "upToDate": True,
        "streamClosed": True,
        "endReason": "producer-error",
        "error": {"code": "c", "message": "\u00e4\n\nevent: x"},
    }
    assert frame.count(b"\n\n") == 1


def test_an_error_with_half_an_emoji_can_be_sent() -> None:
    frame = DOOR.end(OFFSET, "producer-error", '{"code":"c","message":"\\ud83d"}')
    assert b"\\ud83d" in frame


@pytest.mark.parametrize("reason", ["completed", "stopped"])
def test_a_good_end_has_no_error(reason: str) -> None:
    assert b"error" not in DOOR.end(OFFSET, reason, "")


@pytest.mark.parametrize(
    "reason",
    ["producer-error", "producer-disconnected", "inactivity-timeout", "too-large", "expired"],
)
@pytest.mark.parametrize("error", ["", "not json", "[]", '"text"'])
def test_a_bad_end_always_has_an_error(reason: str, error: str) -> None:
    shown = shown_error(reason, error)
    assert isinstance(shown, dict)
    assert shown["code"] == reason
    assert shown["message"]
