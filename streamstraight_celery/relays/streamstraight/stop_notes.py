"""Requested stops, for a service whose protocol has no stop.

A stop is a Celery control message to the workers' parent processes, while the generator runs in a
pool process: a note in a directory of this user on this machine tells all of its workers.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path

from ...errors import ConfigurationError


class StopNotes:
    """One note a stopped stream.

    Args:
        scope: what stream ids are unique in: the service's URL.
        ttl: seconds that a note counts.
    """

    def __init__(self, scope: str, ttl: float) -> None:
        self._scope = scope
        self._ttl = ttl
        self._directory: Path | None = None

    def add(self, stream_id: str) -> None:
        """Note that this stream is to stop.

        Raises:
            ConfigurationError: the directory cannot be used.
        """
        self._directory = None  # it may have been tidied away since
        for note in self._open().iterdir():
            if not self._counts(note):
                note.unlink(missing_ok=True)
        self._note(stream_id).touch(mode=0o600)

    def has(self, stream_id: str) -> bool:
        """Whether this stream is to stop."""
        return self._counts(self._note(stream_id))

    def remove(self, stream_id: str) -> None:
        """The stream has ended: another one may have its name."""
        self._note(stream_id).unlink(missing_ok=True)

    def _note(self, stream_id: str) -> Path:
        name = hashlib.sha256(f"{self._scope}\0{stream_id}".encode()).hexdigest()
        return self._open() / name

    def _counts(self, note: Path) -> bool:
        try:
            return time.time() - note.stat().st_mtime < self._ttl
        except OSError:
            return False

    def _open(self) -> Path:
        if self._directory is None:
            user = os.getuid() if hasattr(os, "getuid") else os.getpid()
            path = Path(tempfile.gettempdir()) / f"streamstraight-celery-stops-{user}"
            try:
                path.mkdir(mode=0o700, exist_ok=True)
                owner = path.lstat()
            except OSError as error:
                raise ConfigurationError(f"stops cannot be noted in {path}: {error}") from error
            if path.is_symlink() or (hasattr(os, "getuid") and owner.st_uid != os.getuid()):
                raise ConfigurationError(f"{path} belongs to another user: set TMPDIR")
            self._directory = path
        return self._directory
