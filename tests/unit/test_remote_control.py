"""Telling a pool process to look for stops."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state as worker_state

from streamstraight_celery.relays.requests import Create
from streamstraight_celery.worker import remote_control as control
from tests.unit.test_handle import app as make_app


def test_a_stop_is_answered_when_the_process_is_gone_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    request = SimpleNamespace(id="s", request_dict={}, worker_pid=gone.pid)
    monkeypatch.setattr(worker_state, "active_requests", [request])
    app = make_app(stream_relay_url="memory://gone")
    consumer: Any = SimpleNamespace(pool=SimpleNamespace(is_green=False))
    control.Runtime.of(app).relay.call(Create("s", "s"))

    answer = control.stop_stream(SimpleNamespace(app=app, consumer=consumer), "s")

    assert answer == {"ok": "stream s: stopped"}
