"""What one Celery app needs in one process to stream: settings, relay, tokens, sender."""

from __future__ import annotations

import os
import threading

from celery import Celery

from .relays import Relay, open_relay
from .sender import Sender
from .settings import StreamSettings, read_settings
from .tokens import Tokens

_ATTRIBUTE = "_streamstraight"
_lock = threading.Lock()


class Runtime:
    """Made when first used, kept on the Celery app; what does not survive a fork is made anew."""

    def __init__(self, settings: StreamSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._relay: Relay | None = None
        self._tokens: Tokens | None = None
        self._sender: Sender | None = None
        self._pid = 0

    @classmethod
    def of(cls, app: Celery) -> Runtime:
        """Return the app's runtime.

        Raises:
            ConfigurationError: a `stream_*` setting is wrong.
        """
        runtime: Runtime | None = app.__dict__.get(_ATTRIBUTE)
        if runtime is None:
            with _lock:
                runtime = app.__dict__.get(_ATTRIBUTE)
                if runtime is None:
                    runtime = cls(read_settings(app))
                    app.__dict__[_ATTRIBUTE] = runtime
        return runtime

    @property
    def relay(self) -> Relay:
        """The relay that `stream_relay_url` names."""
        if self._relay is None:
            with self._lock:
                if self._relay is None:
                    self._relay = open_relay(self.settings)
        return self._relay

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
                    self._sender, self._pid = Sender(relay, self.settings), pid
        return self._sender

    def close(self) -> None:
        """End this process' sender thread and connections."""
        sender, relay = self._sender, self._relay
        self._sender = self._relay = None
        if sender is not None and self._pid == os.getpid():
            sender.close()
        if relay is not None:
            relay.close()
