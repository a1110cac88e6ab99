"""What a store can be asked about a conversation: one stream that many write, and its turns.

The log of a conversation is a stream like those that are written over HTTP, read in the same ways.
These requests are the only ones that write it. `key` is the conversation's name.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ids import conversation_id
from ..offsets import new_nonce

MAX_QUEUE = 1000  # streams that wait in one conversation
MOST_WOKEN = 100  # messages of suspended tasks that one caller is to send
# ms after the last event. Longer than most streams live: the conversation must not be forgotten
# before its stream has ended.
CONVERSATION_TTL = 7 * 24 * 3_600_000


class _Request:
    __slots__ = ()
    key: str

    @property
    def stream_id(self) -> str:
        """The id of the conversation's log, which also decides about its slot in a cluster."""
        return conversation_id(self.key)


@dataclass(frozen=True, slots=True)
class Post(_Request):
    """Add an event, once for each `event_id`; without one, only begin the log.

    `event`: a JSON object. `vital`: also when the log is full. `nonce`: of the log, if this
    begins it. `answers`: the question that it settles, which only one event does; `refuses`: the
    event that did, and no longer does. `wakes`: it is an input, for tasks that are suspended;
    `sender`: the stream whose task sends it. `ends`: the stream that has ended.
    """

    key: str
    event_id: str = ""
    event: bytes = b""
    vital: bool = False
    answers: str = ""
    refuses: str = ""
    wakes: bool = False
    sender: str = ""
    ends: str = ""
    nonce: str = field(default_factory=new_nonce, compare=False)


@dataclass(frozen=True, slots=True)
class Hold(_Request):
    """Let the conversation name the stream `names` if it names `instead_of` now; "": none.

    `event` is added with that, as by `Post`.
    """

    key: str
    names: str = ""
    instead_of: str = ""
    event_id: str = ""
    event: bytes = b""
    nonce: str = field(default_factory=new_nonce, compare=False)


@dataclass(frozen=True, slots=True)
class Queue(_Request):
    """Put a stream into the queue, with the `message` that begins its task; adds an event."""

    key: str
    names: str
    message: str
    event_id: str
    event: bytes
    nonce: str = field(default_factory=new_nonce, compare=False)


@dataclass(frozen=True, slots=True)
class Turn(_Request):
    """Whose turn it is. `ended`: the stream that had it, and has ended; "": none had it.

    `sent`: the message of that stream was sent. `about`: whether this stream is in the queue.
    """

    key: str
    ended: str = ""
    sent: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True)
class Receive(_Request):
    """From which event on a stream's task receives, and that it has received `seq`.

    `child`: from its own beginning on; else from where the tasks before it have stopped.
    """

    key: str
    names: str
    seq: int = 0
    child: bool = False


@dataclass(frozen=True, slots=True)
class Await(_Request):
    """Keep the message that begins the next attempt of `names`, for an input or in `wait` ms.

    `attempt`: the one that waits. `seen`: the last event that it has looked at. `question`: of the
    answer that it waits for; "": for any other input. `what`: names the wait, whose deadline the
    first request decides.
    """

    key: str
    names: str
    attempt: int
    seen: int
    question: str
    what: str
    wait: int
    message: str
    nonce: str = field(default_factory=new_nonce, compare=False)


@dataclass(frozen=True, slots=True)
class Wake(_Request):
    """Which tasks' messages are to be sent now? `done`: of this stream's attempt it was sent."""

    key: str
    done: str = ""
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Resume:
    """The message that begins the attempt after `attempt` is about to be sent."""

    stream_id: str
    attempt: int


ConversationRequest = Post | Hold | Queue | Turn | Receive | Await | Wake | Resume
