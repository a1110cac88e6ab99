"""Begin suspended tasks again: send the messages that are kept in their conversation.

Whoever adds an input, or sees a deadline pass or a stream end, calls `wake`, as often as they like.
A message is given to one caller at a time. If that one dies, another sends it later: of two that
were sent, the store lets one begin an attempt.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from ..errors import RelayUnavailableError
from ..relays.base import Relay
from ..relays.conversations import Resume, Wake
from . import messages

log = logging.getLogger(__name__)


def wake(app: Celery, relay: Relay, name: str, connection: Any = None) -> int:
    """Send the messages of the conversation's suspended tasks that are due; returns how many.

    `connection` to the broker; default: one of the app's pool.

    Raises:
        RelayUnavailableError: the store does not answer.
        kombu.exceptions.OperationalError: the broker does not answer; a later call sends.
    """
    sent = 0
    due = deque(relay.call(Wake(name)).due)
    while due:
        stream_id, attempt, message = due.popleft()
        found = relay.call(Resume(stream_id, attempt))
        # Also of one that was stopped meanwhile: its task is to have a result.
        if found.kind == "ok" or (found.kind == "closed" and found.number == attempt):
            try:
                messages.send(app, messages.unpack(app, message), connection)
            except (RelayUnavailableError, OperationalError):
                raise
            except Exception:
                # Another process may be able to; the conversation's other tasks go on meanwhile.
                log.exception(
                    "stream %s: the suspended task is not continued yet", stream_id,
                    extra={"stream_id": stream_id},
                )  # fmt: skip
                continue
            sent += 1
        due.extend(relay.call(Wake(name, stream_id, attempt)).due)
    return sent


def wake_quietly(app: Celery, relay: Relay, name: str) -> int:
    """As `wake`; what prevents it is only logged, and left to the sweep."""
    try:
        return wake(app, relay, name)
    except Exception:
        log.exception("conversation %s: a suspended task is not continued yet", name)
        return 0
