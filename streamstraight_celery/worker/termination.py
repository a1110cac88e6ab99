"""Why a pool process is terminated, which only its parent knows: it leaves a note for it.

The notes are in memory that a pool process shares with the process it was forked from.
"""

from __future__ import annotations

import hashlib
import mmap
from typing import Any

from celery.signals import worker_shutting_down

from ..producing.interrupts import Ending

# A byte that says that the worker shuts down, then the digests of the last notes.
_DIGEST = 16
_NOTES = 128
_memory = mmap.mmap(-1, 1 + _DIGEST * _NOTES)
_written = 0


def note_termination(task_id: str, why: Ending) -> None:
    """The process or greenlet that runs this task is about to be terminated."""
    global _written
    place = 1 + _DIGEST * (_written % _NOTES)
    _memory[place : place + _DIGEST] = _digest(task_id, why)
    _written += 1


@worker_shutting_down.connect(weak=False)  # type: ignore[untyped-decorator]
def note_shutdown(**_: Any) -> None:
    """The worker shuts down; what still runs then may be terminated."""
    _memory[0] = 1


def why_terminated(task_id: str) -> Ending:
    """Why the process or greenlet that runs this task is terminated."""
    notes = _memory[1:]
    digests = {notes[at : at + _DIGEST] for at in range(0, len(notes), _DIGEST)}
    if _digest(task_id, "revoked") in digests:
        return "revoked"
    shuts_down = _memory[0] or _digest(task_id, "shutdown") in digests
    return "shutdown" if shuts_down else "terminated"


def _digest(task_id: str, why: Ending) -> bytes:
    return hashlib.blake2b(f"{why} {task_id}".encode(), digest_size=_DIGEST).digest()
