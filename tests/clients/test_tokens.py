"""Tokens that are none: from a file with a line break, from an answer without one, misread."""

from __future__ import annotations

from typing import Any

import pytest

from streamstraight_celery import aread_stream, read_stream
from streamstraight_celery.errors import ConfigurationError
from tests.clients.relay import Scripted, ScriptedRelay, part_bytes
from tests.clients.ways import Site

NOT_TOKENS: list[Any] = [None, 7, "ab\ncd", "a\x00", "t\u00f6ken", "t\u20acken"]


@pytest.mark.parametrize("token", [each for each in NOT_TOKENS if each is not None], ids=ascii)
def test_a_token_that_no_request_can_carry_is_refused_at_once(token: Any) -> None:
    with pytest.raises(ConfigurationError, match="token"):
        read_stream("http://127.0.0.1:9/v1/stream/s", token=token)


@pytest.mark.parametrize("token", NOT_TOKENS, ids=ascii)
async def test_get_token_that_gives_none_is_an_error_and_not_asked_again(token: Any) -> None:
    asked: list[str] = []

    def get_token() -> Any:
        asked.append("")
        if len(asked) > 3:
            raise AssertionError("asked for ever")
        return token

    with pytest.raises(ConfigurationError, match="get_token"):
        next(read_stream("http://127.0.0.1:9/v1/stream/s", get_token=get_token))
    with pytest.raises(ConfigurationError, match="get_token"):
        await anext(aread_stream("http://127.0.0.1:9/v1/stream/s", get_token=get_token))
    assert len(asked) == 2


def test_white_space_around_a_token_is_left_out(site: Site) -> None:
    producer = site.producer()
    producer.append(1, end="completed")
    ref = site.ref(producer)
    assert list(read_stream({**ref, "token": f"{ref['token']}\n"})) == [1]


def test_stop_with_a_token_that_is_none_is_an_error() -> None:
    chunk = part_bytes({"data": [1], "id": "o1"})
    with ScriptedRelay() as relay:
        relay.play(
            [
                Scripted(200, {"content-type": "text/event-stream"}, [chunk], "stay"),
                Scripted(401, {}, []),
            ]
        )
        reader = read_stream(relay.url, token="a", get_token=lambda: "b\nc")
        with reader:
            assert next(reader) == 1
            with pytest.raises(ConfigurationError, match="get_token"):
                reader.stop()
