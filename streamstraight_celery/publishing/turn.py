"""The turn of a stream that this process produces, in its conversation."""

from __future__ import annotations

from ..conversations.events import stream_began
from ..enqueue.conversations import Conversation, IfActive
from ..errors import ConfigurationError


class Turn:
    """The turn that a stream takes which this process produces.

    Raises:
        ConfigurationError: `if_active` is neither `reject` nor `replace`.
    """

    def __init__(self, conversation: Conversation, if_active: IfActive, title: str | None) -> None:
        if if_active not in ("reject", "replace"):
            raise ConfigurationError(
                f"if_active={if_active!r}: a stream that is produced here takes its turn at once; "
                "use 'reject' or 'replace'"
            )
        self.conversation = conversation
        self._if_active: IfActive = if_active
        self._title = title

    def take(self, stream_id: str) -> None:
        """Take it, for a stream that was announced.

        Raises:
            StreamActiveError: the conversation has an active stream.
            Exception: as `Conversation.take`.
        """
        event = stream_began(stream_id, title=self._title)
        self.conversation.take(stream_id, self._if_active, event)
