"""What the log is not told: tokens of query strings, answers that are cut on purpose, and the same
thing again and again.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections import deque
from collections.abc import Callable

ACCESS_LOGGERS = (
    "uvicorn.access",
    "uvicorn.error",  # where it tells of WebSockets
    "hypercorn.access",
    "gunicorn.access",
    "daphne.access",
)
_TOKEN = re.compile(r"(\btoken=)[^&\s\"'#]+")


def without_token(text: str) -> str:
    """The text with the value of every `token=` left out."""
    return _TOKEN.sub(r"\1***", text)


class TokenFilter(logging.Filter):
    """Leaves tokens out of records, and keeps them all but one that any client can cause."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                without_token(item) if isinstance(item, str) else item for item in record.args
            )
        elif isinstance(record.args, dict):
            # Of gunicorn and hypercorn, which look up more in it than its items: so it stays.
            for name, item in record.args.items():
                if isinstance(item, str):
                    record.args[name] = without_token(item)
        if isinstance(record.msg, str):
            record.msg = without_token(record.msg)
            if record.msg.startswith("Invalid UTF-8 sequence"):
                return False  # uvicorn's, with a traceback; any client can cause it
        return True


_FILTER = TokenFilter()


def redact_tokens() -> None:
    """Make the access loggers of the known servers leave tokens out."""
    for name in ACCESS_LOGGERS:
        # Adding the same filter again changes nothing.
        logging.getLogger(name).addFilter(_FILTER)


class Cuts(logging.Filter):
    """Answers that we leave incomplete, so that their readers notice: uvicorn takes each for a bug.

    A server that does not report one (its client was gone) leaves it for `KEPT` seconds.
    """

    KEPT = 5.0

    def __init__(self) -> None:
        super().__init__()
        self._times: deque[float] = deque(maxlen=10_000)  # some servers report none

    def note(self) -> None:
        """One is about to be left incomplete."""
        self._times.append(time.monotonic())

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is about anything else."""
        if record.msg != "ASGI callable returned without completing response.":
            return True
        long_ago = time.monotonic() - self.KEPT
        while self._times and self._times[0] < long_ago:
            self._times.popleft()
        if not self._times:
            return True
        self._times.popleft()
        return False


_cuts = Cuts()


def expect_cut() -> None:
    """A response is about to be left incomplete: the server is not to report that."""
    # Adding the same filter again changes nothing.
    logging.getLogger("uvicorn.error").addFilter(_cuts)
    _cuts.note()


class Seldom:
    """Whether it is time to say again in the log what every request could repeat.

    Args:
        seconds: how long to be quiet after each time.
        now: seconds, that only grow.
    """

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._now = now
        self._until = -math.inf

    def __call__(self) -> bool:
        now = self._now()
        if now < self._until:
            return False
        self._until = now + self._seconds
        return True
