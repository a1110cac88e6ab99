"""AG-UI's own client, in Node, with the runs of a real worker."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.conftest import ROOT, eventually
from tests.peers.app import app
from tests.peers.processes import Dictation
from tests.peers.web import Web
from tests.support.proxy import Proxy
from tests.tasks.apps import agents

FOLDER = Path(__file__).parent
STATIC = ROOT / "streamstraight_celery/static/streamstraight_celery"
QUESTION = {"id": "question", "role": "user", "content": "hello"}
STARTED = {"type": "RUN_STARTED", "threadId": "t", "runId": "run"}
FINISHED = {"type": "RUN_FINISHED", "threadId": "t", "runId": "run"}


def begun(name: str) -> dict[str, Any]:
    return {"type": "TEXT_MESSAGE_START", "messageId": name, "role": "assistant"}


def said(name: str, text: str) -> dict[str, Any]:
    return {"type": "TEXT_MESSAGE_CONTENT", "messageId": name, "delta": text}


def ended(name: str) -> dict[str, Any]:
    return {"type": "TEXT_MESSAGE_END", "messageId": name}


def answer(name: str, text: str) -> dict[str, Any]:
    return {"id": name, "role": "assistant", "content": text}


class Agent:
    """`HttpAgent`, running in a process of its own.

    Attributes:
        events: those it was told so far.
        last: what it had in the end: messages and state, or what was thrown.
    """

    def __init__(self, script: Path, web: Web, thread: str, *more: str) -> None:
        command = ["node", str(script), f"{web.origin}/api/agent", thread, *more]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.events: list[dict[str, Any]] = []
        self.last: dict[str, Any] = {}

    def until(self, **fields: Any) -> dict[str, Any]:
        """Read until there is an event with these fields."""
        while True:
            assert self._take(), f"ended with {self.last} after {self.events}"
            if self.events and fields.items() <= self.events[-1].items():
                return self.events[-1]

    def read(self) -> list[str]:
        """Read all of it; the events' types, each once in a row."""
        while self._take():
            continue
        assert self._process.wait(30) == 0
        types = [event["type"] for event in self.events]
        return [one for one, before in zip(types, ["", *types], strict=False) if one != before]

    def abort(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _take(self) -> bool:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            told = json.loads(line)
            self.events += [told["event"]] if "event" in told else []
            self.last |= {key: value for key, value in told.items() if key != "event"}
        return bool(line)


@pytest.fixture(scope="module")
def script(node_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent's script with all that it imports."""
    out = tmp_path_factory.mktemp("agent") / "agent.mjs"
    command = [
        node_modules / ".bin/esbuild", "agent.mjs", "--bundle", "--platform=node", "--format=esm",
        f"--alias:streamstraight-celery={STATIC}/client.js",
        f"--alias:streamstraight-celery/ag-ui={STATIC}/ag-ui.js",
        f"--outfile={out}", "--log-level=error",
    ]  # fmt: skip
    environment = {**os.environ, "NODE_PATH": str(node_modules)}
    done = subprocess.run(
        command, cwd=FOLDER, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def run(
    script: Path, web: Web, proxy: Proxy, dictation: Dictation
) -> Iterator[Callable[..., Agent]]:
    """Begins a run that is dictated."""
    web.ask = dictation.begin_run
    running: list[Agent] = []

    def start(thread: str = "", *more: str) -> Agent:
        running.append(Agent(script, web, thread or uuid4().hex, *more))
        return running[-1]

    yield start
    for agent in running:
        agent.close()


def test_a_run_of_pydantic_ai(run: Callable[..., Agent], web: Web) -> None:
    web.ask = lambda: app.tasks[agents.ag_ui.name].stream("Hi")
    agent = run()
    types = agent.read()
    assert (types[0], types[-1]) == ("RUN_STARTED", "RUN_FINISHED")
    (question, text) = agent.last["messages"]
    assert (question, text["role"]) == (QUESTION, "assistant")
    assert text["content"] == f"1: {' '.join(agents.WORDS)}"
    assert "thrown" not in agent.last


def test_a_broken_connection_is_not_noticed(
    run: Callable[..., Agent], proxy: Proxy, dictation: Dictation
) -> None:
    agent = run()
    dictation.say(STARTED, begun("a"), said("a", "Hel"))
    agent.until(delta="Hel")
    proxy.cut()
    dictation.say(said("a", "lo"), ended("a"), FINISHED)
    dictation.end()
    agent.read()
    assert agent.last == {"messages": [QUESTION, answer("a", "Hello")], "state": {"asked": 1}}
    assert [event["delta"] for event in agent.events if "delta" in event] == ["Hel", "lo"]


def test_a_page_that_comes_back_joins_the_run(
    run: Callable[..., Agent], dictation: Dictation
) -> None:
    agent = run()
    dictation.say(STARTED, begun("a"), said("a", "Hel"))
    agent.until(delta="Hel")
    agent.close()
    again = run()
    again.until(delta="Hel")
    dictation.say(said("a", "lo"), ended("a"), FINISHED)
    dictation.end()
    again.read()
    assert again.last["messages"] == [QUESTION, answer("a", "Hello")]


@pytest.mark.parametrize("has", ["nothing", "part", "all"])
@pytest.mark.parametrize("moment", ["under-way", "ended"])
def test_a_page_that_joins_starts_no_run(
    run: Callable[..., Agent], web: Web, dictation: Dictation, moment: str, has: str
) -> None:
    thread = uuid4().hex
    first = run(thread)
    dictation.say(STARTED, begun("a"), said("a", "Hel"))
    first.until(delta="Hel")
    first.close()
    rest = [said("a", "lo"), ended("a"), FINISHED]
    if moment == "ended":
        dictation.say(*rest)
        dictation.end()
        assert dictation.handle is not None
        dictation.handle.result.get(timeout=30)
    before = {"nothing": [], "part": [answer("a", "Hel")], "all": [answer("a", "Hello")]}[has]
    web.requests.clear()
    joined = run(thread, "join", json.dumps(before))
    joined.until(delta="Hel")
    if moment == "under-way":
        dictation.say(*rest)
        dictation.end()
    joined.read()
    assert joined.last["messages"] == [QUESTION, answer("a", "Hello")]
    assert "thrown" not in joined.last
    assert {method for method, *_ in web.requests} == {"GET"}


def test_there_is_no_run_to_join(run: Callable[..., Agent], web: Web) -> None:
    web.requests.clear()
    joined = run(uuid4().hex, "join")
    assert joined.read() == []
    assert joined.last == {"messages": [QUESTION], "state": {"asked": 1}}
    assert [status for *_, status in web.requests] == [204]


@pytest.mark.parametrize("moment", ["before", "middle"])
def test_a_failure_is_an_error_of_the_run(
    run: Callable[..., Agent], dictation: Dictation, moment: str
) -> None:
    agent = run()
    if moment == "middle":
        dictation.say(STARTED, begun("a"), said("a", "Hel"))
        agent.until(delta="Hel")
    dictation.fail("the model is out of words")
    types = agent.read()
    assert types[-1] == "RUN_ERROR"
    assert types.count("RUN_ERROR") == 1
    told = agent.events[-1]
    assert (told["code"], told["message"]) == ("as-told", "the model is out of words")
    assert "thrown" not in agent.last


def test_an_error_that_the_agent_tells_itself_comes_without_its_text(
    run: Callable[..., Agent], dictation: Dictation
) -> None:
    agent = run()
    dictation.say(STARTED, {"type": "RUN_ERROR", "message": agents.SECRET})
    assert agent.read() == ["RUN_STARTED", "RUN_ERROR"]
    assert agent.events[-1]["code"] == "agent-failed"
    assert agents.SECRET not in str(agent.events)


def test_a_new_attempt_takes_the_place_of_the_old_one(
    run: Callable[..., Agent], dictation: Dictation
) -> None:
    thought = {"messageId": "r", "role": "reasoning"}
    agent = run()
    dictation.say(
        STARTED, {"type": "STATE_SNAPSHOT", "snapshot": {"half": "done"}},
        {"type": "REASONING_START", "messageId": "r"},
        {"type": "REASONING_MESSAGE_START", **thought},
        {"type": "REASONING_MESSAGE_CONTENT", "messageId": "r", "delta": "Hm"},
        {"type": "REASONING_MESSAGE_END", "messageId": "r"},
        {"type": "REASONING_END", "messageId": "r"},
        begun("old"), said("old", "Good"),
    )  # fmt: skip
    agent.until(delta="Good")
    dictation.retry()
    dictation.say(STARTED, begun("new"), said("new", "Good day"), ended("new"), FINISHED)
    dictation.end()
    types = agent.read()
    assert types.count("RUN_STARTED") == 2
    assert [event["code"] for event in agent.events if "code" in event] == ["superseded"]
    messages = [QUESTION, answer("new", "Good day")]
    assert agent.last == {"messages": messages, "state": {"asked": 1}}


def test_a_new_attempt_before_there_was_a_word_is_not_noticed(
    run: Callable[..., Agent], dictation: Dictation
) -> None:
    agent = run()
    dictation.say(STARTED)
    agent.until(type="RUN_STARTED")
    dictation.retry()
    dictation.say(STARTED, begun("new"), said("new", "Good day"), ended("new"), FINISHED)
    dictation.end()
    types = agent.read()
    assert (types[0], types[-1], len(types)) == ("RUN_STARTED", "RUN_FINISHED", 5)
    assert agent.last["messages"] == [QUESTION, answer("new", "Good day")]


def test_abort_stops_the_worker(run: Callable[..., Agent], dictation: Dictation) -> None:
    agent = run()
    dictation.say(STARTED, begun("a"), said("a", "Hel"))
    agent.until(delta="Hel")
    agent.abort()
    assert agent.read()[-1] == "RUN_ERROR"
    assert agent.events[-1]["code"] == "abort"
    handle = dictation.handle
    assert handle is not None
    eventually(lambda: handle.state().end == "stopped")


def test_a_run_that_is_stopped_elsewhere_says_so(
    run: Callable[..., Agent], dictation: Dictation
) -> None:
    agent = run()
    dictation.say(STARTED, begun("a"), said("a", "Hel"))
    agent.until(delta="Hel")
    assert dictation.handle is not None
    dictation.handle.stop()
    assert agent.read()[-1] == "RUN_ERROR"
    assert agent.events[-1]["code"] == "stopped"
