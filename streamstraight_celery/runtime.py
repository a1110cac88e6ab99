"""What one Celery app needs in one process to stream: settings, relay, tokens, sender."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from .conversations.ending import tell_end
from .conversations.soon import EndTeller
from .conversations.turns import advance
from .conversations.waking import wake_quietly
from .ends.on_end import on_end_name
from .ends.sweeping import Swept, sweep
from .ends.telling import tell_application
from .errors import ConfigurationError, StreamError
from .producing.request_queue import RequestQueue
from .producing.sealer import Sealer
from .producing.sender import Sender
from .relays import STREAMSTRAIGHT, Relay, open_relay
from .settings import StreamSettings, check_app, read_settings
from .tokens import Tokens

log = logging.getLogger(__name__)

_ATTRIBUTE = "_streamstraight"
_lock = threading.Lock()


class Runtime:
    """Created on first use and kept on the Celery app; re-created after a fork."""

    def __init__(self, settings: StreamSettings, relay: Relay | None = None) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self.app: Celery | None = None  # whose it is; `of` says so
        self._relay = relay
        self._tokens: Tokens | None = None
        self._sender: Sender | None = None
        self._request_queue: RequestQueue | None = None
        self._end_teller: EndTeller | None = None
        self._pid = 0

    @classmethod
    def of(cls, app: Celery) -> Runtime:
        """Return the app's runtime.

        Raises:
            ConfigurationError: a `stream_*` setting is wrong.
            TypeError: `app` is not a Celery app.
        """
        check_app(app)
        runtime: Runtime | None = app.__dict__.get(_ATTRIBUTE)
        if runtime is None:
            with _lock:
                runtime = app.__dict__.get(_ATTRIBUTE)
                if runtime is None:
                    runtime = cls(read_settings(app))
                    app.__dict__[_ATTRIBUTE] = runtime
        runtime.app = app
        return runtime

    @classmethod
    def install(cls, app: Celery, runtime: Runtime | None) -> Runtime | None:
        """Give the app another runtime (None: a new one when it is needed); returns the old one."""
        before: Runtime | None = app.__dict__.pop(_ATTRIBUTE, None)
        if runtime is not None:
            app.__dict__[_ATTRIBUTE] = runtime
        return before

    def check_own_relay(self, what: str, instead: str) -> None:
        """Refuse what only a relay with this app's own URL and secret can do.

        Args:
            what: is asked for.
            instead: why `streamstraight://` has not got it, and what to use.

        Raises:
            ConfigurationError: `stream_relay_url` is `streamstraight://`, which has its own.
        """
        if self.is_hosted:
            scheme = self.settings.relay_url.partition(":")[0]
            raise ConfigurationError(f"{what}: stream_relay_url is {scheme}://, {instead}")

    def check_tokens(self) -> None:
        """Check that tokens can be issued, as a web application does when it starts.

        Raises:
            ConfigurationError: `stream_secret` is missing, or easy to guess.
        """
        if not self.is_hosted:
            self.tokens  # noqa: B018

    @property
    def is_hosted(self) -> bool:
        """Whether the relay is `streamstraight://`, which issues tokens itself."""
        return self.settings.relay_url.partition(":")[0] in STREAMSTRAIGHT

    @property
    def relay(self) -> Relay:
        """The relay that `stream_relay_url` names."""
        if self._relay is None:
            with self._lock:
                if self._relay is None:
                    self._relay = open_relay(self.settings)
        return self._relay

    def tell_end(self, stream_id: str) -> None:
        """Tell the application of a stream's end, if it wants to know, and the conversation.

        Never raises: what fails is logged, and left to the sweep and to whoever looks at the
        conversation next.
        """
        if self.app is not None:
            tell_application(self.app, self.relay, stream_id)
        self.tell_conversation(stream_id)

    def tell_conversation(self, stream_id: str, *, patient: bool = False) -> None:
        """Tell a stream's conversation of its end, if it has both, and begin the next stream.

        Never raises, as `tell_end`.

        Args:
            stream_id: the stream.
            patient: try again for `stream_relay_timeout` while the store does not answer.
        """
        ask = functools.partial(tell_end, self.app, self.settings, self.relay, stream_id)
        try:
            self.sender.patiently(ask) if patient else ask()
        except Exception as error:
            known = isinstance(error, (StreamError, OperationalError))
            log.warning(
                "stream %s: its conversation is not told of its end yet: %s", stream_id, error,
                exc_info=None if known else error, extra={"stream_id": stream_id},
            )  # fmt: skip

    def sweep(self) -> Swept:
        """End streams whose producer is lost, and tell what nobody has told.

        Raises:
            RelayUnavailableError: the store does not answer.
        """
        assert self.app is not None
        return sweep(self.app, self.relay, self.tell_conversation, self.wake)

    def advance(self, conversation: str) -> None:
        """Begin the next stream of a conversation's queue, if the one before has ended.

        Raises:
            RelayUnavailableError: the store does not answer.
            kombu.exceptions.OperationalError: the broker does not take the next task.
        """
        if self.app is not None:
            advance(self.app, self.settings, self.relay, conversation)

    def wake(self, conversation: str) -> int:
        """Begin suspended tasks of a conversation again whose input or deadline has come.

        What prevents it is only logged, and left to the sweep.
        """
        return 0 if self.app is None else wake_quietly(self.app, self.relay, conversation)

    @property
    def tokens(self) -> Tokens:
        """Issues and verifies tokens with `stream_secret`."""
        if self._tokens is None:
            self._tokens = Tokens(self.settings.secrets(), ttl=self.settings.token_ttl)
        return self._tokens

    @property
    def sender(self) -> Sender:
        """This process' sender."""
        pid = os.getpid()
        if self._sender is None or self._pid != pid:
            relay = self.relay
            with self._lock:
                if self._sender is None or self._pid != pid:
                    sealer = Sealer(relay)
                    self._sender = Sender(relay, self.settings, sealer=sealer)
                    self._pid = pid
        return self._sender

    @property
    def request_queue(self) -> RequestQueue:
        """Tells the relay what became of tasks, in a worker's parent process."""
        if self._request_queue is None:
            with self._lock:
                if self._request_queue is None:
                    settings = self.settings
                    # Imports what it needs, here and not on its thread: a pool process
                    # that is forked in the middle of an import would wait for it forever.
                    with contextlib.suppress(ConfigurationError):
                        open_relay(settings)
                    self._request_queue = RequestQueue(
                        lambda: open_relay(settings), settings.relay_timeout
                    )
        return self._request_queue

    def on_end_name(self, on_end: Any) -> str:
        """The name of the task that is told of a stream's end; "" for none.

        Args:
            on_end: the task's option; None: `stream_on_end`, and "": nobody.

        Raises:
            ConfigurationError: the relay is `streamstraight://`, which does not keep it.
        """
        return on_end_name(self.app, self.settings, on_end)

    def tell_end_soon(self, app: Celery, stream_id: str) -> None:
        """As `tell_end`, on a thread, in a process that must not wait for that."""
        with self._lock:
            if self._end_teller is None:
                self._end_teller = EndTeller(app, self.settings)
        self._end_teller.soon(stream_id)

    def flush_ends(self) -> None:
        """Wait a little until all ends are told."""
        if self._end_teller is not None:
            self._end_teller.flush()

    def close(self) -> None:
        """End this process' sender thread and connections."""
        if self._request_queue is not None:
            self._request_queue.flush()
        self.flush_ends()
        sender, relay = self._sender, self._relay
        self._sender = self._relay = None
        if sender is not None and self._pid == os.getpid():
            sender.close()
        if relay is not None:
            relay.close()
