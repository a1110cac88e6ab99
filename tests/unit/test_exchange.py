"""Commands and answers on a socket, as a Redis with RESP3 sends them."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest
import redis.exceptions
from redis._parsers.hiredis import _HiredisParser

from streamstraight_celery.relays.redis.exchange import STRAIGHT, exchange

pytestmark = pytest.mark.skipif(not STRAIGHT, reason="hiredis before 3.2 tells no news")

NEWS = b">4\r\n$9\r\nMIGRATING\r\n:1\r\n:2\r\n$1\r\n0\r\n"


def answers_to(sent: bytes, count: int) -> list[object]:
    """What a connection makes of these bytes, after `count` commands."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        connection = SimpleNamespace(_sock=ours, _parser=_HiredisParser(65536))
        return exchange(connection, [(b"PING",)] * count)


def test_news_between_answers_are_no_answers() -> None:
    assert answers_to(NEWS + b"+one\r\n" + NEWS + b":2\r\n" + NEWS, 2) == [b"one", 2]


def test_an_error_is_an_answer() -> None:
    first, second = answers_to(b"-WRONGTYPE no\r\n+two\r\n", 2)
    assert isinstance(first, redis.exceptions.ResponseError)
    assert second == b"two"


def test_an_answer_that_breaks_off_is_a_lost_connection() -> None:
    with pytest.raises(redis.exceptions.ConnectionError, match="closed"):
        answers_to(b"+one\r\n$5\r\nab", 2)
