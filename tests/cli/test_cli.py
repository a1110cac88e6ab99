"""`celery -A proj streams ...`, over streams in a real Redis.

Most commands run in this process, as Celery runs them: a `celery` process takes a second to start.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from click.testing import CliRunner

from streamstraight_celery.cli import streams as streams_command
from streamstraight_celery.conversations.events import stream_began, stream_id_of_event
from streamstraight_celery.offsets import new_nonce
from streamstraight_celery.relays.about import About, Workplace
from streamstraight_celery.relays.requests import Claim, Create, Post
from tests.cli.streams import Streams, celery_context
from tests.cli.terminal import on_a_terminal
from tests.conftest import ROOT, eventually, free_port
from tests.server.producer import Producer
from tests.support.clusters import Cluster

COMMAND = [sys.executable, "-m", "celery", "-A", "tests.cli.app", "streams"]
WITHOUT_RICH = "import sys; sys.modules['rich'] = None; from celery.__main__ import main; main()"


@pytest.fixture
def three(streams: Streams) -> Streams:
    """A queued, a streaming and a completed stream, asked for in this order."""
    streams.producer("queued-one")
    time.sleep(0.002)  # the relay counts in ms
    streams.producer("streaming-one").claim().append("a", "b")
    time.sleep(0.002)
    streams.producer("completed-one").claim().append("c", end="completed")
    return streams


def test_ls_lists_all_streams_the_newest_first(three: Streams) -> None:
    done = three("ls")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert lines[0][:4] == ["task", "stream", "status", "chunks"]
    assert lines[0][-1] == "requested"
    assert [line[1:4] for line in lines[1:]] == [
        ["completed-one", "completed", "1"],
        ["streaming-one", "streaming", "2"],
        ["queued-one", "queued", "0"],
    ]


def test_ls_as_json(three: Streams) -> None:
    found = three.json("ls", "--active", "--limit", "1")
    assert [each["stream_id"] for each in found] == ["streaming-one"]
    assert found[0]["chunks"] == 2
    assert found[0]["first_chunk_after"] >= 0
    assert found[0]["end_reason"] == ""


def test_show_tells_of_one_stream(three: Streams) -> None:
    assert three.json("show", "completed-one")["end_reason"] == "completed"
    assert "completed" in three("show", "completed-one").stdout


ABOUT = About.of("proj.tasks.answer", {"user": "42"})


def begin(streams: Streams, name: str, **options: str) -> Producer:
    """A stream with all that a worker says of it."""
    producer, nonce = Producer(streams.relay, name), new_nonce()
    streams.relay.call(Create(name, name, about=ABOUT, **options))
    streams.relay.call(Claim(name, nonce, name, about=ABOUT, at=Workplace("celery@web-1", "slow")))
    producer.attempt, producer.nonce = 1, nonce
    return producer


def test_what_runs_and_where(streams: Streams) -> None:
    begin(streams, "named").append("a", end="completed")
    header, named = [line.split("\t") for line in streams("ls").stdout.splitlines()]
    found = dict(zip(header, named, strict=True))
    assert re.fullmatch(r"\d\d:\d\d:\d\d", found.pop("requested"))
    for timed in ("first chunk", "lasted", "size"):
        assert found.pop(timed)
    assert found == {
        "task": "proj.tasks.answer", "stream": "named", "status": "completed", "chunks": "1",
        "queue": "slow", "worker": "celery@web-1", "labels": "user=42",
    }  # fmt: skip
    told = dict(line.split("\t") for line in streams("show", "named").stdout.splitlines()[1:])
    assert {
        "task": "proj.tasks.answer",
        "queue": "slow",
        "labels": "user=42",
    }.items() <= told.items()
    assert re.fullmatch(r"\d\d:\d\d:\d\d \(.* ago\)", told["requested"])
    table = streams.on_a_terminal("ls")
    assert re.search(r"first chunk: p50 .*, p95 ", table)
    assert re.search(r"lasted: p50 .*, p95 ", table)


def test_the_streams_of_a_conversation_are_a_tree(streams: Streams) -> None:
    for name, parent in (("planner", None), ("searcher", "planner"), ("gone", None)):
        event = stream_began(name, task=ABOUT.task, title=name.title(), parent=parent)
        streams.relay.call(Post("chat-42", stream_id_of_event(name), event))
        if name != "gone":
            begin(streams, name, conversation="chat-42")
    lines = streams("ls", "--conversation", "chat-42").stdout.splitlines()[1:]
    assert [line.split("\t")[:3] for line in lines] == [
        ["Planner", "planner", "streaming"], ["  Searcher", "searcher", "streaming"],
        ["Gone", "gone", "expired"],
    ]  # fmt: skip
    found = streams.json("ls", "--conversation", "chat-42")
    assert [(each["stream_id"], each["depth"]) for each in found] == [
        ("planner", 0), ("searcher", 1), ("gone", 0),
    ]  # fmt: skip
    none = streams("ls", "--conversation", "chat-43")
    assert (none.exit_code, "no conversation 'chat-43'" in none.stderr) == (1, True)
    assert streams("ls", "--conversation", "chat-42", "--active").exit_code == 2
    assert streams("ls", "--active", "--state", "failed").exit_code == 2


def test_the_words_alone(streams: Streams) -> None:
    producer = streams.producer("words").claim()
    producer.append({"type": "start"}, "Hel", {"type": "text-delta", "delta": "lo\n\x1b[31m!"})
    producer.append(end="completed")
    done = streams("tail", "words", "--text")
    assert done.stdout == "Hello\n\\x1b[31m!"
    assert done.stderr.strip() == "-- completed --"
    assert streams("tail", "words", "--text", "--json").exit_code == 2


def test_a_stream_that_is_not_there(streams: Streams) -> None:
    done = streams("show", "nothing")
    assert done.exit_code == 1
    assert "no stream 'nothing'" in done.stderr
    assert "Traceback" not in done.stderr


def test_stop_ends_a_queued_stream(three: Streams) -> None:
    done = three("stop", "queued-one", "completed-one", "nothing")
    assert done.stdout.splitlines() == ["queued-one\tstopping", "completed-one\thad ended already"]
    assert "nothing" in done.stderr
    assert done.exit_code == 1
    assert three.relay.state("queued-one").end == "stopped"


def test_stop_as_json(three: Streams) -> None:
    ended, missing = three.json("stop", "completed-one", "nothing")
    assert ended == {"stream_id": "completed-one", "status": "ended"}
    assert "no stream 'nothing'" in missing["error"]


def test_tail_follows_a_stream_to_its_end(streams: Streams) -> None:
    producer = streams.producer("live").claim()
    producer.append({"text": "one"})
    following = subprocess.Popen(
        [*COMMAND, "tail", "live"],
        cwd=ROOT, env={**streams.environment(), "PYTHONUNBUFFERED": "1"}, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert following.stdout is not None
    assert '{"text": "one"}' in following.stdout.readline()
    producer.append("two", end="completed")
    rest = following.communicate(timeout=60)[0].splitlines()
    assert [line.strip().split("  ")[-1] for line in rest] == ["two", "-- completed --"]
    assert following.returncode == 0


def test_tail_of_a_stream_that_failed(streams: Streams) -> None:
    producer = streams.producer("failed").claim()
    producer.append(1, end="producer-error", error='{"code":"quota","message":"no"}')
    done = streams("tail", "failed", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0]["chunk"] == 1
    assert lines[1] == {"end": "producer-error"}
    assert done.exit_code == 1
    assert streams("tail", "failed").stdout.splitlines()[-1] == "-- producer-error: no --"


HOSTILE = "caf\u00e9 \x1b[31mred\nnext\x9b \ud83d"


def test_what_a_model_wrote_does_not_steer_the_terminal(streams: Streams) -> None:
    error = json.dumps({"code": "quota", "message": HOSTILE})
    streams.producer("odd").claim().append(HOSTILE, {"t": HOSTILE}, end="too-large", error=error)
    shown = r"café \x1b[31mred\nnext\x9b \ud83d".replace(r"é", "é")
    text, mapping, end = streams("tail", "odd").stdout.splitlines()
    assert text.endswith("  " + shown)
    assert json.loads(mapping.partition("  {")[1].strip() + mapping.partition("  {")[2]) == {
        "t": HOSTILE
    }
    assert "café" in mapping
    assert end == f"-- too-large: {shown} --"
    lines = streams("tail", "odd", "--json").stdout.splitlines()
    assert [json.loads(line).get("chunk") for line in lines] == [HOSTILE, {"t": HOSTILE}, None]
    assert f"error\t{shown}\n" in streams("show", "odd").stdout
    table = streams.on_a_terminal("show", "odd")
    assert "\x1b[31mred" not in table


@pytest.mark.parametrize(
    ("columns", "header"),
    [
        (
            112,
            [
                "task",
                "stream",
                "status",
                "chunks",
                "size",
                "first chunk",
                "lasted",
                "queue",
                "requested",
            ],
        ),
        (90, ["task", "stream", "status", "chunks", "first chunk", "requested"]),
        (80, ["task", "stream", "status", "chunks", "requested"]),
        (50, ["stream", "status"]),
    ],
)
@pytest.mark.parametrize("rich", [True, False])
def test_a_narrow_terminal_shows_whole_ids(
    streams: Streams,
    columns: int,
    header: list[str],
    rich: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not rich:
        monkeypatch.setitem(sys.modules, "rich", None)
    name = "4edc6949-1d9f-4de5-92e6-de25662df61b"
    streams.producer(name)
    written = streams.on_a_terminal("ls", columns=columns)
    first, second, *rest = re.sub(r"\x1b\[[0-9;]*m", "", written).splitlines()
    assert re.split(" {3,}", first.strip()) == header
    assert f"{name}   queued" in second
    assert rest == []


def test_top_shows_rates(three: Streams) -> None:
    done = three("top", "--interval", "0.2", "--rounds", "2")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    shown = {line[1]: line[5] for line in lines[len(lines) // 2 :]}
    assert shown["streaming-one"] == "0.0"
    assert "completed-one" not in shown


def test_top_as_json_is_a_line_each_round(three: Streams) -> None:
    done = three("top", "--interval", "0.2", "--rounds", "2", "--json")
    first, second = [json.loads(line) for line in done.stdout.splitlines()]
    assert {each["stream_id"] for each in first} == {"streaming-one", "queued-one"}
    assert {each["rate"] for each in first} == {None}
    assert {each["rate"] for each in second} == {0.0}


def test_a_terminal_gets_a_table(three: Streams) -> None:
    text = on_a_terminal([*COMMAND, "ls"], three.environment())
    assert "streaming-one" in text
    assert "\t" not in text
    assert "\x1b[" in text


def test_a_terminal_without_colours(three: Streams) -> None:
    text = three.on_a_terminal("ls", colours=False)
    assert "streaming-one" in text
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", text)


def test_a_terminal_gets_columns_without_rich(three: Streams) -> None:
    text = on_a_terminal(
        [sys.executable, "-c", WITHOUT_RICH, *COMMAND[3:], "ls"], three.environment()
    )
    header, newest, *_ = text.splitlines()
    assert header.index("status") == newest.index("completed ") == len("task   completed-one   ")
    assert "\t" not in text


def test_the_doctor_finds_nothing_wrong(streams: Streams) -> None:
    found = streams.json("doctor", stream_public_url="/relay", stream_secret="hard to guess it")
    grades = {each["check"]: each["grade"] for each in found}
    assert grades["redis"] == grades["eviction"] == grades["clock"] == grades["secret"] == "ok"
    assert grades["tasks"] == "ok"


@pytest.mark.parametrize(
    ("conf", "check", "grade", "advice"),
    [
        (
            {"stream_public_url": "http://127.0.0.1:9"}, "secret", "warning",
            "set stream_secret",
        ),
        (
            {"stream_public_url": "https://relay.example.invalid"}, "secret", "error",
            "set stream_secret",
        ),
        ({}, "redelivery", "warning", "time limit"),
        ({}, "lost-tasks", "warning", "on_lost='run'"),
        (
            {"task_time_limit": 600, "broker_transport_options": {"visibility_timeout": 60}},
            "redelivery", "warning", "longer than the longest",
        ),
        ({}, "workers", "warning", "celery -A proj worker"),
        ({"stream_leese": 3}, "settings", "error", "correct the setting"),
        (
            {"stream_secret": "hard to guess it", "stream_allowed_origins": ["*"]},
            "origins", "warning",
            "name the origins",
        ),
        (
            {"stream_allowed_origins": ["https://a.example/"]}, "settings", "error",
            "correct the setting",
        ),
    ],
)  # fmt: skip
def test_the_doctor_says_what_to_change(
    streams: Streams, conf: dict[str, Any], check: str, grade: str, advice: str
) -> None:
    conf = {"stream_public_url": "/relay", **conf}
    found = {each["check"]: each for each in streams.json("doctor", **conf)}
    assert found[check]["grade"] == grade
    assert advice in found[check]["advice"]


@contextmanager
def running(streams: Streams, *words: str, **conf: Any) -> Iterator[None]:
    process = subprocess.Popen(
        [*COMMAND[:-1], *words], cwd=ROOT, env=streams.environment(**conf),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def found_by_doctor(streams: Streams, **conf: Any) -> dict[str, Any]:
    return {each["check"]: each for each in streams.json("doctor", **conf)}


def test_the_doctor_sees_a_queue_that_no_worker_takes_from(streams: Streams) -> None:
    found: dict[str, Any] = {}

    def answered() -> bool:
        found.update(found_by_doctor(streams, stream_public_url="/relay"))
        return bool(found["workers"]["grade"] == "ok")

    with running(streams, "worker", "-P", "solo", "-Q", "other", "--without-mingle"):
        eventually(answered, timeout=60)
    assert found["queues"]["grade"] == "warning"
    # Shared tasks of other tests' modules are in the same process.
    assert found["queues"]["found"].startswith("no worker takes ")
    assert "tests.cli.app.answer from the queue 'celery'" in found["queues"]["found"]
    assert "-Q celery" in found["queues"]["advice"]
    found.clear()
    with running(streams, "worker", "-P", "solo", "--without-mingle"):
        eventually(answered, timeout=60)
    assert found["queues"]["grade"] == "ok"


def test_the_doctor_sees_a_relay_with_another_secret(streams: Streams) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    found: dict[str, Any] = {}

    def answered(secret: str) -> bool:
        found.update(found_by_doctor(streams, stream_public_url=url, stream_secret=secret))
        return "refused" not in found["relay server"]["found"]

    with running(
        streams, "streams", "relay", "--port", str(port), stream_secret="hard to guess it"
    ):
        eventually(lambda: answered("another one of 20"), timeout=60)
        assert found["relay server"]["grade"] == "error"
        assert "the same stream_secret" in found["relay server"]["advice"]
        assert answered("hard to guess it")
        assert found["relay server"]["grade"] == "ok"


def test_the_doctor_sees_that_redis_may_evict(own_redis: Any) -> None:
    import redis

    with redis.Redis.from_url(own_redis.url()) as client:
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
    found = Streams(own_redis.url()).json("doctor", stream_public_url="/relay")
    eviction = next(each for each in found if each["check"] == "eviction")
    assert eviction["grade"] == "warning"
    assert "noeviction" in eviction["advice"]


def test_the_doctor_looks_at_each_primary_of_a_cluster(streams: Streams, cluster: Cluster) -> None:
    evicting = cluster.primaries[0]
    evicting.client.config_set("maxmemory", "100mb")
    evicting.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        found = found_by_doctor(streams, stream_public_url="/relay", stream_relay_url=cluster.url)
    finally:
        evicting.client.config_set("maxmemory-policy", "noeviction")
        evicting.client.config_set("maxmemory", "0")
    for server in cluster.primaries:
        for check in ("redis", "eviction", "clock"):
            grade = "warning" if (server, check) == (evicting, "eviction") else "ok"
            assert found[f"{check} 127.0.0.1:{server.port}"]["grade"] == grade


def test_the_doctor_says_which_node_of_a_cluster_is_down(streams: Streams) -> None:
    with closing(Cluster()) as cluster:
        lost = cluster.primaries[0]
        lost.kill()
        found = found_by_doctor(streams, stream_public_url="/relay", stream_relay_url=cluster.url)
    assert found[f"redis 127.0.0.1:{lost.port}"]["grade"] == "error"
    assert found[f"redis 127.0.0.1:{cluster.primaries[1].port}"]["grade"] == "ok"


NO_APPLICATION = "No application was given: celery -A proj streams "


def test_no_application_was_given() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "STREAM_RELAY_URL"}
    done = subprocess.run(
        [sys.executable, "-m", "celery", "streams", "ls"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[1] == f"{NO_APPLICATION}ls"


@pytest.mark.parametrize("command", sorted(streams_command.commands))
def test_each_command_needs_an_application(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAM_RELAY_URL", raising=False)
    arguments = ["one"] if command in ("show", "stop", "tail") else []
    with celery_context("memory://", {}) as parent:
        del parent.params["app"]
        done = CliRunner().invoke(streams_command, [command, *arguments], parent=parent)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines()[1] == f"{NO_APPLICATION}{command}"


@pytest.mark.parametrize(
    "arguments", [["ls"], ["show", "one"], ["tail", "one"], ["stop", "one"], ["top"]]
)
def test_redis_is_down(arguments: list[str]) -> None:
    done = Streams(f"redis://127.0.0.1:{free_port()}/0")(*arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "does not answer" in done.stderr
    assert "stream_relay_url" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_doctor_fails_when_redis_is_down() -> None:
    done = Streams(f"redis://127.0.0.1:{free_port()}/0")("doctor", stream_public_url="/relay")
    assert done.exit_code == 1
    assert "does not answer" in done.stdout
    assert "Traceback" not in done.stderr
