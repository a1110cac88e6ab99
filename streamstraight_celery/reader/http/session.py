"""Reading over HTTP, without I/O: says what to do next, and is told what came of it."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from ...errors import ConfigurationError, RelayUnavailableError, StreamError
from ..events import Arrival, Connect, End, Failure, Move, NewToken, Pause, Reset
from ..inbox import Inbox
from ..options import ReadOptions
from ..timing import Patience
from .answers import Answer, is_done, refusal
from .protocol import Protocol
from .sse_parser import Frame, FrameParser

logger = logging.getLogger(__name__)

STREAM = "/v1/stream/"
STOP = "/v1/stop/"
WAIT = 20  # seconds that one request waits for a stream to be there
WAIT_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class AskToken:
    """Ask for a token; tell by `token` or `token_failed`."""


@dataclass(frozen=True, slots=True)
class Open:
    """Send this GET; tell by `answered` or `failed`."""

    url: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Look:
    """Send this HEAD; tell by `described` or `failed`."""

    url: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Receive:
    """Read on in the response; tell by `received`, `finished` or `failed`."""


Action = Pause | AskToken | Open | Look | Receive


@dataclass(frozen=True, slots=True)
class Source:
    """Where a stream is served, and the token that opens it."""

    url: str
    token: str | None
    stream_id: str

    @classmethod
    def of(cls, source: Mapping[str, Any] | str, token: str | None) -> Source:
        """From a ref or a URL.

        Raises:
            ConfigurationError: there is no http URL in it, or a token that is none.
        """
        ref: Mapping[str, Any] = {"url": source} if isinstance(source, str) else source
        url = ref.get("url")
        parts = urlsplit(url) if isinstance(url, str) else None
        if parts is None or parts.scheme not in ("http", "https") or not parts.netloc:
            raise ConfigurationError(f"a ref's url is an http(s) URL, not {url!r}")
        name = ref.get("stream_id") or unquote(parts.path.rpartition("/")[2]) or url
        given = token or ref.get("token")
        usable = None if given is None else check_token(given, "the token")
        return cls(urlunsplit(parts), usable, str(name))

    @property
    def stop_url(self) -> str:
        """Where the stream is stopped.

        Raises:
            ConfigurationError: that cannot be told from where it is read.
        """
        parts = urlsplit(self.url)
        # The last one: a mount path may contain it, too.
        before, found, name = parts.path.rpartition(STREAM)
        if not found or not name or "/" in name:
            raise ConfigurationError(f"no {STREAM}<id> in {self.url}: it cannot be stopped there")
        return urlunsplit(parts._replace(path=f"{before}{STOP}{name}"))

    def with_query(self, query: Mapping[str, str]) -> str:
        """The URL with these fields in its query."""
        parts = urlsplit(self.url)
        kept = [pair for pair in parse_qsl(parts.query, True) if pair[0] not in query]
        return urlunsplit(parts._replace(query=urlencode([*kept, *query.items()])))


def check_token(token: object, what: str) -> str:
    """A token as a header can carry it.

    Raises:
        ConfigurationError: it is none, which no further try would change.
    """
    text = token.strip() if isinstance(token, str) else "\n"
    if not (text.isascii() and text.isprintable()):
        raise ConfigurationError(f"{what} is not a token: a str of printable ASCII characters")
    return text


class Session:
    """The steps of reading one stream.

    Args:
        source: where.
        inbox: where chunks and the end go.
        options: the consumer's.
        can_refresh: there is somebody to ask for a token.
    """

    def __init__(
        self, source: Source, inbox: Inbox[Any], options: ReadOptions, *, can_refresh: bool
    ) -> None:
        self._source = source
        self._inbox = inbox
        self._options = options
        self._timing = options.timing
        self._can_refresh = can_refresh
        self._protocol = Protocol(options.position, options.timing.random)
        self._patience = Patience(options.give_up_after)
        self._token = source.token
        self._delay = 0.0
        self._looks = False  # the content type is to be asked for
        self._pending: deque[Frame] = deque()
        self._frames: FrameParser | None = None  # of the response that is being read
        self._opened: float | None = None
        self._wait_until: float | None = None  # for a stream that is not there yet

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"authorization": f"Bearer {self._token}"} if self._token else {}

    @property
    def reading(self) -> bool:
        """There is a response to read on in."""
        return self._frames is not None

    def next(self) -> Action:
        """What to do now."""
        if self._looks:
            self._looks = False
            return Look(self._source.url, self.headers)
        if self._frames is not None:
            return Receive()
        if self._delay:
            delay, self._delay = self._delay, 0.0
            return Pause(self._timing.pause(delay))
        if self._token is None and self._can_refresh:
            return AskToken()
        self._opened = None
        left = self._wait_left()
        waits = {"wait": str(min(WAIT, math.ceil(left)))} if left else {}
        url = self._source.with_query({**self._protocol.connect(), **waits, "frames": "json"})
        accepted = {"accept": "text/event-stream", "accept-encoding": "identity"}
        return Open(url, {**self.headers, **accepted})

    def token(self, token: object) -> None:
        """There is a token.

        Raises:
            ConfigurationError: it is none.
        """
        self._token = check_token(token, "what get_token returned")

    def token_failed(self, error: Exception) -> None:
        """There is none. A `StreamError` is a reason to give up, anything else may pass."""
        if isinstance(error, StreamError):
            self._inbox.fail(error)
        else:
            self._move(self._protocol.token_failed(error))

    def answered(self, answer: Answer) -> None:
        """The answer to `Open`."""
        if answer.status == 404 and self._wait_left():
            self._move(Connect(WAIT_PAUSE))
            return
        move = self._protocol.answered(answer, self._can_refresh, self._timing.time())
        if move is not None:
            self._move(move)
            return
        self._opened = self._timing.now()
        self._wait_until = -math.inf  # it is there
        self._patience.heard()
        self._frames = FrameParser()
        self._inbox.set_status("open")

    def described(self, answer: Answer) -> None:
        """The answer to `Look`."""
        move = self._protocol.described(answer)
        if move is not None:
            self._move(move)
        else:
            self._take()

    def received(self, data: bytes) -> None:
        """A part of the response; whatever follows its end does not count."""
        assert self._frames is not None
        self._patience.heard()
        self._pending.extend(self._frames.feed(data))
        self._take()

    def _take(self) -> None:
        while self._pending:
            self._looks = self._protocol.needs_type(self._pending[0])
            if self._looks:
                break
            frame = self._pending.popleft()
            for item in self._protocol.frame(frame):
                if not isinstance(item, Arrival):
                    self._move(item)
                    return
                self._inbox.put(item)
        self._inbox.tail = self._protocol.position

    def finished(self) -> None:
        """The response ended in order."""
        self._move(self._protocol.dropped(self._lived()))

    def failed(self, failure: Failure) -> None:
        """There is no answer, or no more of it."""
        self._move(self._protocol.dropped(self._lived(), failure))

    def interrupted(self) -> None:
        """The response was given up in the middle of reading; the next step connects again."""
        self._hang_up()

    def stopped(self, answer: Answer) -> StreamError | None:
        """The answer to a request to stop: what to raise, None when all is well."""
        if is_done(answer):
            return None
        return refusal(answer)[0].error(self._source.stream_id)

    def unanswered(self, failure: Failure) -> StreamError:
        """What to raise for a request to stop that got no answer."""
        name = self._source.stream_id
        return RelayUnavailableError(f"stream {name!r} could not be stopped: {failure.message}")

    def _wait_left(self) -> float:
        """Seconds that a stream which is not there is still waited for."""
        if not self._options.wait:
            return 0.0
        now = self._timing.now()
        if self._wait_until is None:
            self._wait_until = now + self._options.wait
        return max(0.0, self._wait_until - now)

    def _lived(self) -> float:
        return -1.0 if self._opened is None else self._timing.now() - self._opened

    def _hang_up(self) -> None:
        self._frames = None
        self._looks = False
        self._pending.clear()

    def _move(self, move: Move) -> None:
        self._hang_up()
        self._inbox.tail = self._protocol.position
        match move:
            case End():
                self._inbox.end(move)
            case Reset(_, delay):
                self._delay = delay
                self._inbox.reset(move)
            case NewToken():
                self._token = None
            case Connect(delay, failure):
                self._delay = delay
                self._retry(delay, failure)

    def _retry(self, delay: float, failure: Failure | None) -> None:
        if self._inbox.over:
            return  # closed, perhaps from another thread: that is why the connection is over
        if failure is not None or self._inbox.status != "connecting":
            self._inbox.set_status("reconnecting")
        if failure is None:
            return
        name = self._source.stream_id
        error = failure.error(name)
        logger.info(
            "stream %s: %s (%s); trying again in %.1f s", name, error, failure.code, delay,
            extra={"stream_id": name},
        )  # fmt: skip
        if self._patience.over(self._timing.now(), delay):
            limit = self._options.give_up_after
            reason = f"stream {name!r} could not be read for {limit:g} s: {failure.message}"
            unavailable = RelayUnavailableError(reason)
            unavailable.__cause__ = error
            self._inbox.fail(unavailable)
        elif self._options.on_retry is not None:
            self._options.on_retry(error)
