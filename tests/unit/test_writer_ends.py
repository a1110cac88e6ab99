"""A producer whose end is to be told keeps its stream in the list, also when the store loses it."""

from __future__ import annotations

from streamstraight_celery.producing.sender import Sender
from streamstraight_celery.relays.requests import Enlist, Listed, list_of
from tests.conftest import eventually

from .troubled import SETTINGS, TroubledRelay

TOLD = "proj.save"


def is_listed(relay: TroubledRelay) -> bool:
    return bool(relay.call(Listed(list_of("s"), 0, 10)).listed)


def test_a_stream_is_listed_before_it_can_end() -> None:
    relay = TroubledRelay()
    sender = Sender(relay, SETTINGS)
    sender.open("s", on_end=TOLD)
    assert relay.sent[0] == [Enlist("s")]
    assert is_listed(relay)
    sender.close()


def test_what_is_lost_is_listed_again() -> None:
    relay = TroubledRelay()
    sender = Sender(relay, SETTINGS)
    writer = sender.open("s", on_end=TOLD)
    writer.write("1")
    relay.lose_everything()
    writer.write("2")
    eventually(lambda: relay.texts() == ["1", "2"])
    eventually(lambda: is_listed(relay))
    assert relay.state("s").on_end == TOLD
    writer.finish("completed")
    assert relay.state("s").end == "completed"
    sender.close()


def test_other_streams_are_not_listed() -> None:
    relay = TroubledRelay()
    sender = Sender(relay, SETTINGS)
    writer = sender.open("s")
    writer.write("1")
    relay.lose_everything()
    writer.finish("completed")
    assert not is_listed(relay)
    sender.close()
