"""A process that writes streams with the package's own sender, told what to do by its stdin.

    {"stream": "s1", "total": 40, "size": 100, "pace": 0.01, "hold": 20}   begin; wait behind 20
    {"go": "s1"}                                                           go on

What it did and what was acknowledged is in its ledger. Usage: producer.py LEDGER, settings in the
environment variable FAULTS_CONF as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamstraight_celery.errors import StreamBusyError, StreamError
from streamstraight_celery.producing.sender import Sender
from streamstraight_celery.relays import open_relay
from streamstraight_celery.relays.base import Page, Relay
from streamstraight_celery.relays.requests import Answer, Append, Claim, Read, Request
from streamstraight_celery.settings import StreamSettings
from tests.faults.chunks import Mark, make_chunk
from tests.faults.ledger import LedgerWriter

CONF_VARIABLE = "FAULTS_CONF"


class NotingRelay(Relay):
    """Passes everything on, and notes what was acknowledged and what was refused."""

    def __init__(self, relay: Relay, ledger: LedgerWriter) -> None:
        self._relay = relay
        self._ledger = ledger

    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        sent = time.monotonic()
        answers = self._relay.execute(requests)
        for request, answer in zip(requests, answers, strict=True):
            self._note(request, answer, sent)
        return answers

    def read(self, read: Read) -> Page | None:
        return self._relay.read(read)

    def _note(self, request: Request, answer: Answer, sent: float) -> None:
        note, name = self._ledger.note, request.stream_id
        if isinstance(request, Claim) and answer.kind == "ok":
            note("claimed", name, attempt=answer.number, nonce=request.nonce)
        elif isinstance(request, Append) and answer.kind in ("ok", "duplicate"):
            last = request.first + request.count - 1
            note("acked", name, nonce=request.nonce, sent=sent, last=last, end=request.end)
        elif isinstance(request, Append):
            note("refused", name, nonce=request.nonce, answer=answer.kind)


class Producer:
    """Writes one stream on a thread of its own."""

    def __init__(self, sender: Sender, ledger: LedgerWriter, plan: dict[str, Any]) -> None:
        self._sender = sender
        self._ledger = ledger
        self._plan = plan
        self._stream: str = plan["stream"]
        self.go = threading.Event()

    def run(self) -> None:
        try:
            self._produce()
        except StreamError as error:
            self._ledger.note("failed", self._stream, error=f"{error.code}: {error}")

    def _produce(self) -> None:
        plan, total = self._plan, self._plan["total"]
        writer = self._open()
        self._ledger.note("began", self._stream, nonce=writer.nonce, total=total)
        for seq in range(1, total + 1):
            self._hold(seq - 1)
            mark = Mark(self._stream, writer.attempt, writer.nonce, seq)
            writer.write(make_chunk(mark, plan.get("size", 100)))
            if plan.get("pace"):
                time.sleep(plan["pace"])
        self._hold(total)
        writer.finish("completed")
        self._ledger.note("finished", self._stream, nonce=writer.nonce)

    def _open(self) -> Any:
        """Claim the stream; while another producer holds it, wait as a redelivered task does."""
        while True:
            try:
                return self._sender.open(self._stream, owner=self._stream)
            except StreamBusyError as busy:
                time.sleep(min(0.1, busy.retry_after))

    def _hold(self, seq: int) -> None:
        if self._plan.get("hold") == seq:
            self._ledger.note("held", self._stream, seq=seq)
            self.go.wait()


def main() -> None:
    settings = StreamSettings(**json.loads(os.environ[CONF_VARIABLE]))
    ledger = LedgerWriter(Path(sys.argv[1]))
    sender = Sender(NotingRelay(open_relay(settings), ledger), settings)
    producers: dict[str, Producer] = {}
    print("ready", flush=True)
    for line in sys.stdin:
        told = json.loads(line)
        if "go" in told:
            producers[told["go"]].go.set()
        else:
            producer = producers[told["stream"]] = Producer(sender, ledger, told)
            threading.Thread(target=producer.run, daemon=True).start()


if __name__ == "__main__":
    main()
