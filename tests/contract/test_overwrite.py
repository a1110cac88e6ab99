"""A claim that overwrites: what a producer of the Streamstraight SDK may ask for."""

from __future__ import annotations

import pytest

from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.requests import Append, Claim, Release, Stop

S = "stream-1"


def write(relay: Relay, nonce: str, attempt: int, text: str, end: str = "") -> None:
    answer = relay.call(Append(S, attempt, nonce, 1, 1, text.encode(), end))
    assert answer.kind == "ok"


@pytest.mark.fakeredis
def test_an_ended_stream_begins_anew(relay: Relay) -> None:
    relay.call(Claim(S, "aaaaaaaa"))
    relay.call(Stop(S))
    write(relay, "aaaaaaaa", 1, '"old"', "completed")
    assert relay.call(Claim(S, "bbbbbbbb")).kind == "closed"

    assert relay.call(Claim(S, "bbbbbbbb", overwrite=True)) == ("ok", 2, False, "0")

    state = relay.state(S)
    assert (state.end, state.last, state.ended, state.stop_asked) == ("", 0, 0, False)
    write(relay, "bbbbbbbb", 2, '"new"', "completed")
    assert relay.state(S).end == "completed"


def test_a_living_producer_is_taken_over_from(relay: Relay) -> None:
    relay.call(Claim(S, "aaaaaaaa"))
    assert relay.call(Claim(S, "bbbbbbbb")).kind == "busy"
    assert relay.call(Claim(S, "bbbbbbbb", overwrite=True))[:2] == ("ok", 2)
    assert relay.call(Append(S, 1, "aaaaaaaa", 1, 1, b"1")).kind == "fenced"


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_same_claim_again_takes_the_stream_back(relay: Relay, overwrite: bool) -> None:
    relay.call(Claim(S, "aaaaaaaa", overwrite=overwrite))
    relay.call(Release(S, 1, "aaaaaaaa", 0))
    assert relay.state(S).released
    assert relay.call(Claim(S, "aaaaaaaa", overwrite=overwrite))[:2] == ("ok", 1)
    assert not relay.state(S).released
    assert relay.call(Claim(S, "bbbbbbbb")).kind == "busy"
