"""What `EmbeddedRedis` falls back to: fakeredis over TCP, which by itself asks for no password.

Run with a port and the file that holds the password (empty: none).
"""

from __future__ import annotations

import hmac
import select
import socket
import sys
from pathlib import Path
from typing import Any

READY = "fakeredis accepts connections"
_LOGIN_SECONDS = 10.0
_LOGIN_BYTES = 4096


def main(port: int, password: bytes) -> None:
    """Serve until killed."""
    import fakeredis

    server = fakeredis.TcpFakeServer(("127.0.0.1", port), server_type="redis")
    if password:
        server.fake_server.config[b"requirepass"] = password
        server.RequestHandlerClass = _guarded(server.RequestHandlerClass, password)
    print(READY, flush=True)
    server.serve_forever()


def _guarded(handler: Any, password: bytes) -> Any:
    """That handler, for connections whose first command carries the password."""

    class Guarded(handler):  # type: ignore[misc]
        def handle(self) -> None:
            if _logs_in(self.connection, password):
                super().handle()
            else:
                self.connection.sendall(b"-NOAUTH Authentication required.\r\n")

    return Guarded


def _logs_in(connection: socket.socket, password: bytes) -> bool:
    """Whether `AUTH` or `HELLO` with the password is waiting to be read, whole, as clients send it.

    fakeredis answers it: we only look.
    """
    if not select.select([connection], [], [], _LOGIN_SECONDS)[0]:
        return False
    # *3 $4 AUTH $7 default $6 secret: each on a line.
    count, *lines = connection.recv(_LOGIN_BYTES, socket.MSG_PEEK).split(b"\r\n")
    words = lines[1::2][: int(count[1:])] if count[1:].isdigit() else []
    if not words or words[0].upper() not in (b"AUTH", b"HELLO"):
        return False
    return any(hmac.compare_digest(word, password) for word in words[1:])


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]).read_bytes())
