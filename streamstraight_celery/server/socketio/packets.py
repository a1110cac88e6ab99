"""Checks what clients send over Socket.IO: only packets that its libraries can parse. No I/O.

They raise on malformed packets, which fills the log and leaks the connection's state, and they
collect as many binary attachments as a peer announces. Nothing in `stream-v1` is binary.
"""

from __future__ import annotations

import re

from socketio import packet

# Of Engine.IO without data; of Socket.IO to connect, to disconnect and an event.
_PACKET = re.compile(r"[12356]\Z|4[0-2]")
# Of Engine.IO: the peer leaves, although it may keep the connection open.
CLOSE = "1"
# Handlers of these names are the libraries' to call.
_RESERVED = frozenset({"connect", "disconnect"})


def is_packet(text: str | None) -> bool:
    """Whether a message of a WebSocket (None: a binary one) can be a packet of a client."""
    return text is not None and _PACKET.match(text) is not None


class Packet(packet.Packet):  # type: ignore[misc]
    """A Socket.IO packet; malformed input counts as a disconnect."""

    def decode(self, encoded_packet: str) -> int:
        """Decode a packet; there are never attachments."""
        try:
            if not super().decode(encoded_packet) and self._is_well_formed():
                return 0
        except (ValueError, RecursionError):
            pass
        self.packet_type = packet.DISCONNECT
        self.namespace = self.data = self.id = None
        return 0

    def _is_well_formed(self) -> bool:
        if self.packet_type != packet.EVENT:
            return True
        match self.data:
            case [str(name)] | [str(name), _]:
                return name not in _RESERVED
        return False
