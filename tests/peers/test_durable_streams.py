"""The published clients of Durable Streams: Node's and Python's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import durable_streams
import httpx
import pytest

from streamstraight_celery import StreamHandle
from tests.peers.processes import Dictation
from tests.support.proxy import Proxy

FOLDER = Path(__file__).parent


class NodeReader:
    """`@durable-streams/client`, reading in a process of its own."""

    def __init__(self, handle: StreamHandle, offset: str, live: str) -> None:
        command = ["node", "read.mjs", handle.url, handle.token(scopes=["read"]), offset, live]
        self._process = subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.PIPE, text=True)
        self.items: list[Any] = []
        self.offset = ""
        self.last: dict[str, Any] = {}

    def until(self, count: int) -> list[Any]:
        """Read until there are so many chunks."""
        while len(self.items) < count:
            assert self._take(), f"ended with {self.items}: {self.last}"
        return self.items

    def read(self) -> NodeReader:
        """Read all of it."""
        while self._take():
            continue
        assert self._process.wait(30) == 0
        return self

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _take(self) -> bool:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            self.last = json.loads(line)
            self.items += self.last.get("items", [])
            self.offset = self.last.get("offset", self.offset)
        return bool(line)


Read = Callable[..., NodeReader]


@pytest.fixture
def read(node_modules: Path) -> Iterator[Read]:
    """Starts readers, and ends them."""
    readers: list[NodeReader] = []

    def start(handle: StreamHandle, *, offset: str = "-1", live: str = "sse") -> NodeReader:
        readers.append(NodeReader(handle, offset, live))
        return readers[-1]

    yield start
    for reader in readers:
        reader.close()


@pytest.mark.parametrize("live", ["sse", "long-poll", "true"])
def test_node_reads_what_a_worker_writes(
    read: Read, proxy: Proxy, dictation: Dictation, live: str
) -> None:
    handle = dictation.begin()
    dictation.say(1, {"two": 2})
    reader = read(handle, live=live)
    assert reader.until(2) == [1, {"two": 2}]
    dictation.say("three")
    assert reader.until(3)[2:] == ["three"]
    if live == "long-poll":
        proxy.cut()  # read by SSE, it gives up, and resumes from a saved offset
    dictation.say(4)
    reader.until(4)
    dictation.end()
    assert reader.read().items == [1, {"two": 2}, "three", 4]
    assert reader.last["closed"] is True


@pytest.mark.parametrize("live", ["sse", "long-poll", "true"])
def test_node_resumes_from_a_saved_offset(read: Read, dictation: Dictation, live: str) -> None:
    handle = dictation.begin()
    dictation.say(1, 2)
    first = read(handle, live=live)
    first.until(2)
    saved = first.offset
    first.close()
    dictation.say(3)
    second = read(handle, offset=saved, live=live)
    assert second.until(1) == [3]
    dictation.say(4)
    dictation.end()
    assert second.read().items == [3, 4]
    late = read(handle, offset=saved, live="false").read()
    assert late.items == [3, 4]


@pytest.mark.parametrize("live", ["sse", "long-poll"])
def test_node_and_a_stream_that_ends_with_an_error(
    read: Read, dictation: Dictation, live: str
) -> None:
    handle = dictation.begin()
    dictation.say("a start")
    reader = read(handle, live=live)
    reader.until(1)
    dictation.fail("the model is out of words")
    assert reader.read().items == ["a start"]
    assert reader.last["closed"] is True
    assert end_reason(handle) == "producer-error"


def test_node_is_told_that_its_offset_is_of_another_attempt(
    read: Read, dictation: Dictation
) -> None:
    handle = dictation.begin()
    dictation.say("old")
    reader = read(handle)
    reader.until(1)
    saved = reader.offset
    dictation.retry()
    dictation.say("new")
    anew = read(handle)
    assert anew.until(1) == ["new"]
    told = read(handle, offset=saved).read()
    assert (told.items, told.last["status"]) == ([], 410)


def end_reason(handle: StreamHandle) -> str:
    """Where a reader of the standard's fields finds how a stream ended."""
    headers = {"Authorization": f"Bearer {handle.token()}"}
    return httpx.head(handle.url, headers=headers).headers["Stream-End-Reason"]


def python_stream(handle: StreamHandle, offset: str | None = "-1") -> Any:
    headers = {"Authorization": f"Bearer {handle.token(scopes=['read'])}"}
    return durable_streams.stream(handle.url, offset=offset, live="sse", headers=headers)


def test_python_reads_what_a_worker_writes(dictation: Dictation) -> None:
    handle = dictation.begin()
    dictation.say(1)
    with python_stream(handle) as response:
        items = response.iter_json()
        assert next(items) == 1
        dictation.say({"two": 2}, "three")
        assert [next(items), next(items)] == [{"two": 2}, "three"]
        dictation.end()
        assert list(items) == []


def test_python_resumes_from_a_saved_offset(dictation: Dictation) -> None:
    handle = dictation.begin()
    dictation.say(1)
    with python_stream(handle) as response:
        first = next(response.iter_events(mode="json"))
        assert first.data == [1]
        saved = first.next_offset
    dictation.say(2)
    with python_stream(handle, saved) as response:
        items = response.iter_json()
        assert next(items) == 2
        dictation.say(3)
        dictation.end()
        assert list(items) == [3]


def test_python_and_a_stream_that_ends_with_an_error(dictation: Dictation) -> None:
    handle = dictation.begin()
    dictation.say("a start")
    with python_stream(handle) as response:
        items = response.iter_json()
        assert next(items) == "a start"
        dictation.fail("the model is out of words")
        assert list(items) == []
    assert end_reason(handle) == "producer-error"
