"""Commands to Redis and their answers, over a connection of redis-py's.

Where hiredis is installed, its packer and parser work straight on the socket, without redis-py's
layers around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
import redis.exceptions

hiredis: Any
try:
    import hiredis
except ImportError:  # a requirement of the relay server, not of workers
    hiredis = None
# Older ones do not tell news from answers.
STRAIGHT = hasattr(hiredis, "PushNotification")

# Commands in one write: Redis works on the first while the next are being packed.
AT_ONCE = 4
READ_BYTES = 65536


def exchange(connection: Any, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Send all commands and read all answers; an error with which Redis answers is returned.

    Raises:
        redis.exceptions.RedisError, OSError: the connection is lost, and must not be used again.
    """
    sock = getattr(connection, "_sock", None)
    if not STRAIGHT or sock is None:
        return _through_redis_py(connection, commands)
    try:
        for start in range(0, len(commands), AT_ONCE):
            sock.sendall(b"".join(map(hiredis.pack_command, commands[start : start + AT_ONCE])))
        return _answers(sock, connection._parser.parse_error, len(commands))
    except TimeoutError as error:
        raise redis.exceptions.TimeoutError("Timeout reading from socket") from error
    except OSError as error:
        raise redis.exceptions.ConnectionError(f"Connection lost: {error}") from error


def _answers(sock: Any, parse_error: Any, count: int) -> list[Any]:
    reader = hiredis.Reader(protocolError=redis.exceptions.InvalidResponse, replyError=parse_error)
    answers: list[Any] = []
    while len(answers) < count:
        data = sock.recv(READ_BYTES)
        if not data:
            raise redis.exceptions.ConnectionError("Connection closed by server.")
        reader.feed(data)
        while (answer := reader.gets()) is not False:
            if isinstance(answer, redis.exceptions.ConnectionError):
                raise answer
            # Redis' own news, such as of maintenance, come between answers.
            if not isinstance(answer, hiredis.PushNotification):
                answers.append(answer)
    return answers


def _through_redis_py(connection: Any, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    for start in range(0, len(commands), AT_ONCE):
        packed = connection.pack_commands(commands[start : start + AT_ONCE])
        connection.send_packed_command(packed, check_health=False)
    return [_reply(connection) for _ in commands]


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.exceptions.ResponseError as error:
        return error
