"""What a Streamstraight server says about one stream, and what that means for its producer."""

from __future__ import annotations

from typing import Any

import pytest

from streamstraight_celery.relays.streamstraight.progress import Progress, Service
from streamstraight_celery.relays.streamstraight.socketio import ConnectionLost, Packet, decode

NONCE = "0badcafe"
PROGRESS = "streamstraight_celery.relays.streamstraight.progress"


def make(**options: Any) -> Progress:
    return Progress(Service("https://api.example", "key"), "s", **{"overwrite": False, **options})


def event(name: str, **payload: Any) -> Packet:
    return Packet("event", name, payload=payload)


def info(last: int | None, **more: Any) -> Packet:
    return event("stream:info", **{"deploymentId": "x", "lastSeq": last, "ended": False, **more})


def begun(position: int, acked: int | None = None) -> Progress:
    """One that has sent some chunks, and whose connection was lost then."""
    progress = make()
    progress.take(info(None))
    progress.entered()
    progress.sends(position)
    if acked is not None:
        progress.take(event("producer:ack", seq=acked - 1, redisId="1-1"))
    return progress


def refused(message: str, **data: Any) -> Packet:
    return Packet("refused", payload={"message": message, "data": data})


def test_goes_on_behind_what_the_server_says_it_has() -> None:
    progress = begun(10)
    progress.lost()
    progress.take(info(6))
    progress.entered()
    assert (progress.position, progress.answer) == (7, None)


def test_goes_on_behind_what_was_acknowledged() -> None:
    progress = begun(10, acked=4)
    progress.lost()
    progress.entered()
    assert (progress.position, progress.answer) == (4, None)


def test_a_server_that_was_away_for_long_is_not_taken_for_frozen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    progress = begun(10, acked=4)
    monkeypatch.setattr(f"{PROGRESS}.ACK_TIMEOUT", -1.0)
    with pytest.raises(ConnectionLost, match="acknowledges nothing any more"):
        progress.check()
    progress.lost()
    progress.take(Packet("connected"))
    progress.check()
    progress.take(info(6))
    progress.check()


def test_one_that_stopped_to_acknowledge_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{PROGRESS}.ACK_TIMEOUT", -1.0)
    progress = begun(10, acked=4)
    assert not progress.stalled(10)
    with pytest.raises(ConnectionLost):
        progress.check()
    progress.lost()
    progress.take(info(3))
    progress.entered()
    progress.sends(10)
    assert progress.stalled(10)
    assert not progress.stalled(4)  # it has said so
    progress.take(event("producer:ack", seq=5, redisId="1-1"))
    assert not progress.stalled(10)


def test_fails_when_the_server_says_neither() -> None:
    progress = begun(10)
    progress.lost()
    progress.entered()
    assert progress.answer is not None
    assert (progress.answer.kind, "does not say" in progress.answer.reason) == ("refused", True)


def test_information_that_comes_late_counts_no_more() -> None:
    progress = begun(10, acked=4)
    progress.lost()
    progress.entered()
    progress.sends(10)
    progress.take(info(3))
    assert progress.position == 10


def test_a_server_that_has_more_than_was_sent() -> None:
    progress = begun(3)
    progress.lost()
    progress.take(info(8))
    assert progress.answer is not None
    assert "9 chunks of another producer" in progress.answer.reason


def test_what_is_overwritten_does_not_matter() -> None:
    progress = make(overwrite=True)
    assert progress.auth == {"overwriteExistingStream": True}
    progress.take(info(8, ended=True))
    progress.entered()
    assert (progress.position, progress.answer) == (0, None)
    assert progress.auth == {}  # what is there now is ours


@pytest.mark.parametrize(
    "packet",
    [info(9, ended=True), refused("ended", code="closed", reason="completed")],
    ids=["by info", "by refusal"],
)
def test_an_end_whose_acknowledgement_was_lost(packet: Packet) -> None:
    progress = begun(10)
    progress.end_sent = "completed"
    progress.lost()
    if packet.kind == "refused":
        with pytest.raises(ConnectionLost):
            progress.take(packet)
    else:
        progress.take(packet)
    assert progress.answer == ("ok", 10, False, "")


def test_an_end_by_somebody_else() -> None:
    progress = begun(10)
    progress.end_sent = "completed"
    progress.lost()
    with pytest.raises(ConnectionLost):
        progress.take(refused("ended", code="closed", reason="stopped"))
    assert progress.answer == ("closed", 0, True, "stopped")


def test_a_shorter_end_is_not_ours() -> None:
    progress = begun(10)
    progress.end_sent = "completed"
    progress.lost()
    progress.take(info(4, ended=True))
    assert progress.answer is not None
    assert progress.answer.kind == "closed"


def test_an_end_that_is_refused() -> None:
    progress = begun(1)
    progress.take(Packet("ack", id=1, payload={"success": False, "error": "too late"}))
    assert progress.answer is not None
    assert (progress.answer.kind, "too late" in progress.answer.reason) == ("refused", True)


def test_our_relay_is_known_by_its_deployment() -> None:
    progress = make()
    ours = {"deploymentId": "streamstraight-celery", "attempt": 3, "nonce": NONCE}
    progress.take(info(None, **ours))
    progress.entered()
    assert progress.ours
    assert progress.auth == {"nonce": NONCE, "attempt": 3}
    progress.take(info(None, **ours, stopAsked=True))
    assert progress.stop_asked


@pytest.mark.parametrize(
    ("before", "packet", "kind"),
    [
        (False, refused("no such plan"), "refused"),
        (False, refused("later", code="unavailable"), None),
        (False, refused("held", code="busy", retryInMs=700), "busy"),
        (True, refused("held", code="busy", retryInMs=700), None),
        (True, refused("there is a producer already"), None),
        (True, refused("bad key", code="unauthorized"), "refused"),
        (True, refused("late", code="fenced"), "fenced"),
        (True, event("stream:error", message="quota"), "refused"),
        (True, event("connection:error", message="bad"), "refused"),
        (True, event("stream:error", message="busy", retryInMs=50), None),
        (True, event("stream:error", message="large", code="too-large"), "too-large"),
        (True, event("stream:error", message="quota", code={"a": 1}), "refused"),
        (True, event("stream:error", message="quota", code=429), "refused"),
        (False, refused("no", code=["x"]), "refused"),
        (False, refused("held", code="busy", retryInMs="soon"), "busy"),
        (True, Packet("lost", "bye"), None),
    ],
)
def test_what_is_final(before: bool, packet: Packet, kind: str | None) -> None:
    progress = begun(1) if before else make()
    with pytest.raises(ConnectionLost):
        progress.take(packet)
    assert (progress.answer.kind if progress.answer else None) == kind


def test_the_window() -> None:
    progress = begun(5000)
    assert not progress.full  # nothing shows that this server acknowledges
    progress.take(event("producer:ack", seq=99, redisId="1-1"))
    assert progress.full
    progress.take(event("producer:ack", seq=4000, redisId="1-1"))
    assert not progress.full


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ('40{"sid":"x"}', Packet("connected")),
        ("41", Packet("lost", "the server ended the connection")),
        ('44{"message":"no"}', Packet("refused", payload={"message": "no"})),
        ('44"no"', Packet("refused", payload={"message": "no"})),
        ('42["a",{"b":1}]', Packet("event", "a", payload={"b": 1})),
        ('42["a"]', Packet("event", "a")),
        ('4312[{"success":true}]', Packet("ack", id=12, payload={"success": True})),
        ("431[]", Packet("ack", id=1)),
        ("46", Packet("other")),
    ],
)
def test_packets(text: str, packet: Packet) -> None:
    assert decode(text) == packet


@pytest.mark.parametrize("text", ["42", "42{", "42[]", "43x"])
def test_malformed_packets(text: str) -> None:
    with pytest.raises((ValueError, LookupError)):
        decode(text)
