"""Our client as it ships, in the runtimes that it is for beside browsers."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, missing
from tests.peers.processes import Dictation
from tests.support.proxy import Proxy

SCRIPT = Path(__file__).with_name("read_ours.mjs")
CLIENT = ROOT / "streamstraight_celery/static/streamstraight_celery/client.js"


@pytest.fixture(params=["node", "deno"])
def runtime(request: pytest.FixtureRequest, node_modules: Path) -> list[str]:
    """The command that runs a script."""
    if request.param == "node":
        return ["node"]
    deno = node_modules / "@deno/linux-x64-glibc/deno"
    if not deno.exists():
        missing("Deno, which npm has for Linux on x86-64 alone here,")
    return [
        str(deno),
        "run",
        "--quiet",
        "--no-config",
        "--no-remote",
        "--allow-net",
        "--allow-read",
    ]


class Reader:
    """The script, running.

    Attributes:
        chunks, statuses: what it saw so far.
        last: what it printed last.
    """

    def __init__(self, command: list[str], folder: Path) -> None:
        environment = {**os.environ, "DENO_DIR": str(folder), "NO_PROXY": "127.0.0.1"}
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, text=True
        )
        self.chunks: list[Any] = []
        self.statuses: list[str] = []
        self.last: dict[str, Any] = {}

    def until(self, count: int) -> None:
        """Read until there are so many chunks."""
        while len(self.chunks) < count:
            assert self._take(), f"ended with {self.last} after {self.chunks}"

    def read(self) -> None:
        """Read all of it."""
        while self._take():
            continue
        assert self._process.wait(30) == 0

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _take(self) -> bool:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            self.last = json.loads(line)
            self.chunks += [self.last["chunk"]] if "chunk" in self.last else []
            self.statuses += [self.last["status"]] if "status" in self.last else []
        return bool(line)


@pytest.fixture(params=["alone", "pool"])
def reader(
    request: pytest.FixtureRequest, runtime: list[str], proxy: Proxy, dictation: Dictation,
    tmp_path: Path,
) -> Iterator[Reader]:  # fmt: skip
    handle = dictation.begin()
    words = [handle.url, handle.token(), request.param]
    reader = Reader([*runtime, str(SCRIPT), str(CLIENT), *words], tmp_path)
    yield reader
    reader.close()


def test_it_reads_over_a_broken_connection_and_stops(
    reader: Reader, proxy: Proxy, dictation: Dictation
) -> None:
    dictation.say(1, {"two": "\u2028🙂"})
    reader.until(2)
    proxy.cut()
    dictation.say(3, "x" * 100_000)
    reader.until(4)
    dictation.say("stop")
    reader.read()
    assert reader.chunks == [1, {"two": "\u2028🙂"}, 3, "x" * 100_000, "stop"]
    assert reader.last == {"end": "stopped"}
    assert reader.statuses == ["connecting", "open", "reconnecting", "open", "closed"]


def test_a_failure_is_thrown(reader: Reader, dictation: Dictation) -> None:
    dictation.say(1)
    reader.until(1)
    dictation.fail("the model is out of words")
    reader.read()
    assert reader.last == {"error": "as-told", "message": "the model is out of words"}
