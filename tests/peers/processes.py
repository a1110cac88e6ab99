"""What these tests run beside Redis: a worker and a relay."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis

from streamstraight_celery import StreamHandle
from tests.peers.app import CONF_VARIABLE, dictated, dictated_run
from tests.support.processes import start_celery


def start_peers(conf: dict[str, Any], log: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start `celery -A tests.peers.app ...`."""
    return start_celery("tests.peers.app", log, *words, env={CONF_VARIABLE: json.dumps(conf)})


class Dictation:
    """A stream of the worker's that goes on when it is told to."""

    def __init__(self, broker_url: str) -> None:
        self._redis = redis.Redis.from_url(broker_url)
        self._channel = f"dictation:{uuid4().hex}"
        self.handle: StreamHandle | None = None

    def begin(self) -> StreamHandle:
        """Enqueue the task."""
        return self._begin(dictated)

    def begin_run(self) -> StreamHandle:
        """Enqueue the task whose chunks are the events of an AG-UI run, or join it."""
        return self._begin(dictated_run.conversation(self._channel, if_active="join"))

    def say(self, *chunks: Any) -> None:
        self._tell(*(("chunk", chunk) for chunk in chunks))

    def end(self) -> None:
        self._tell(("end", None))

    def fail(self, message: str) -> None:
        self._tell(("fail", message))

    def retry(self) -> None:
        """Have the task's next attempt begin."""
        self._tell(("retry", None))

    def close(self) -> None:
        """Let the worker go, whatever is left to say."""
        self._redis.delete(self._channel)
        self.end()
        if self.handle is not None:
            self.handle.result.get(timeout=60, propagate=False)
        self._redis.delete(self._channel)
        self._redis.close()

    def _begin(self, task: Any) -> StreamHandle:
        self.handle = task.stream(self._channel)
        return self.handle

    def _tell(self, *words: tuple[str, Any]) -> None:
        self._redis.rpush(self._channel, *(json.dumps(word) for word in words))
