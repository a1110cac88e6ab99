"""The rights that the documentation gives each process' Redis user: enough, and not more."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from streamstraight_celery.errors import RelayUnavailableError
from streamstraight_celery.relays import open_async_relay, open_relay
from streamstraight_celery.relays.about import ACTIVE, RECENT
from streamstraight_celery.relays.base import AsyncRelay, Relay, RelayOptions
from streamstraight_celery.relays.index import Found, Query
from streamstraight_celery.relays.redis.async_relay import AsyncRedisRelay
from streamstraight_celery.relays.redis.relay import RedisRelay
from streamstraight_celery.relays.requests import (
    Append,
    Checkpoint,
    Claim,
    Conclude,
    Create,
    Delete,
    Delist,
    Enlist,
    Entry,
    Expect,
    Fork,
    Hold,
    Index,
    Listed,
    NoteTold,
    Open,
    Post,
    Queue,
    Read,
    Reap,
    Recall,
    Receive,
    Release,
    Renew,
    Request,
    Stop,
    Turn,
    Write,
    list_of,
)
from streamstraight_celery.relays.sealing import seal_requests
from streamstraight_celery.settings import StreamSettings
from tests.conftest import ROOT
from tests.support.clusters import Cluster, Server

RULE = re.compile(r"^ACL SETUSER (\S+) on >\S+ (.*)$", re.MULTILINE)
# Sent by redis-py to every Redis, whoever logs in; refused to nobody, or of no consequence.
OF_EVERY_CONNECTION = {"auth", "client|setinfo", "select", "hello"}
# How the test itself looks at the server.
OURS = {
    "acl|setuser", "acl|log", "config|resetstat", "info", "flushall", "ping", "acl", "config",
    "script|flush", "command",
}  # fmt: skip


def rules() -> dict[str, list[str]]:
    """The rules in the documentation, by user."""
    text = (ROOT / "docs" / "how-to" / "redis.md").read_text().replace(" \\\n", " ")
    return {name: rule.split() for name, rule in RULE.findall(text)}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def empty(server: Server) -> None:
    server.client.flushall()
    server.client.script_flush()


def user(server: Server, *rule: str) -> str:
    """The URL of a user with these rights."""
    server.client.execute_command("ACL", "SETUSER", "someone", "reset", "on", ">hush", *rule)
    server.client.execute_command("ACL", "LOG", "RESET")
    server.client.config_resetstat()
    return f"redis://someone:hush@127.0.0.1:{server.port}/0"


def append(stream_id: str, attempt: int, nonce: str, end: str = "") -> Append:
    return Append(stream_id, attempt, nonce, 1, 1, b'"x"', end)


def sealing(stream_id: str, nonce: str) -> list[Request]:
    return list(seal_requests(stream_id, 1, nonce, [Entry(1, 1, b'"x"')]))


def of_tasks() -> list[Request]:
    """All that workers and those who enqueue ask for, in each of its ways."""
    return [
        Create("a", "task"), Hold("chat", "a", ""), Expect("a", "task", 1000),
        Post("chat", "1", b'{"type":"input"}'), Turn("chat"),
        Receive("chat", "a", 1),
        Queue("chat", "q", "message", "2", b'{"type":"stream"}'),
        Claim("a", "aaaaaaaa", "task"), append("a", 1, "aaaaaaaa"), Renew("a", 1, "aaaaaaaa"),
        Checkpoint("a", 1, "aaaaaaaa", "1", 1), Recall("a"), Release("a", 1, "aaaaaaaa", 1000),
        Claim("a", "bbbbbbbb", "task", resume=True), Stop("a"),
        Append("a", 2, "bbbbbbbb", 2, 1, b'"x"', "completed"),
        Create("b", "task"), Stop("b"), Reap("b"), Hold("chat", "b", "a"), Hold("chat", "", "b"),
        Claim("d", "aaaaaaaa", "task"), append("d", 1, "aaaaaaaa"),
        Append("d", 1, "aaaaaaaa", 2, 0, b"", "completed"), *sealing("d", "aaaaaaaa"),
        Create("c", "task"), Conclude("c", "task", "", end="producer-error"),
    ]  # fmt: skip


def tell_end(relay: Relay, stream_id: str) -> None:
    """All that telling an end asks for, and the sweep."""
    mark = relay.call(Enlist(stream_id)).mark
    assert relay.call(Enlist(stream_id, seen=mark)).kind == "ok"
    (listed,) = relay.call(Listed(list_of(stream_id), 0, 10)).listed
    assert relay.call(NoteTold(stream_id, 0, 1)).kind == "fenced"
    assert relay.call(Delist(*listed)).kind == "ok"


def opened(name: str, **more: Any) -> Open:
    return Open(
        stream_id=name, config="c", kind="json", content_type="application/json",
        nonce="cccccccc", count=1, data=b"1", **more,
    )  # fmt: skip


def written(name: str, **more: Any) -> Write:
    return Write(stream_id=name, content_type="application/json", count=1, data=b"2", **more)


def over_http() -> list[Request]:
    """All that the relay server asks for where others may write over HTTP."""
    return [
        opened("h", ttl=1000), written("h"), Fork("h", 1), Fork("h", -1), Delete("h"),
        opened("i", expires_at=99999999999999),
        written("i", producer="p", epoch=1, number=0, end="completed"), Delete("i"),
    ]  # fmt: skip


def sync_relay(url: str) -> Relay:
    return open_relay(StreamSettings(relay_url=url))


def async_relay(url: str) -> AsyncRelay:
    return open_async_relay(StreamSettings(relay_url=url))


async def as_worker(url: str) -> None:
    with contextlib.closing(sync_relay(url)) as relay:
        for request in of_tasks():
            assert relay.call(request).kind != "error", request
        relay.tidy([RECENT, ACTIVE])
        assert names(relay.find(Query.of(state="active"))) == {"made"}  # as `streams.sweep`
        assert relay.state("a").end == "completed"
        tell_end(relay, "a")


async def as_web(url: str) -> None:
    await as_worker(url)
    with contextlib.closing(sync_relay(url)) as relay:
        assert names(relay.find(Query.of())) >= {"a"}
    await reads(url)


async def as_relay_server(url: str) -> None:
    await as_web(url)  # producers of the Streamstraight SDK write through it
    relay = async_relay(url)
    for answer in await relay.execute(over_http()):
        assert answer.kind != "error"
    await relay.ping()
    assert names(await relay.find(Query.of())) >= {"a"}
    await relay.close()


async def as_command_line(url: str) -> None:
    with contextlib.closing(sync_relay(url)) as relay:
        assert names(relay.find(Query.of())) == {"made", "sealed"}
        assert relay.state("made").last == 200
        assert relay.call(Stop("made")).kind == "ended"
        assert relay.call(Reap("made")).kind == "closed"
        tell_end(relay, "made")
        if isinstance(relay, RedisRelay):
            assert relay.server_info()["redis_version"]
    await reads(url)


def names(found: Found) -> set[str]:
    return {name for name, _ in found.streams}


async def reads(url: str) -> None:
    """Read pages, long ones too, and hear notices."""
    relay = async_relay(url)
    watcher = relay.watch(lambda *_: None, lambda: None)
    await asyncio.wait_for(watcher.subscribe("a"), 30)
    watcher.unsubscribe("a")
    assert await relay.read([Read("made", 0, 0, 1000)]) != [None]
    assert (await relay.read([Read("sealed", 0, 0, 1000)]))[0].entries == (Entry(1, 1, b'"x"'),)
    await watcher.close()
    await relay.close()


ROLES: dict[str, Callable[[str], Coroutine[Any, Any, None]]] = {
    "worker": as_worker,
    "web": as_web,
    "relay": as_relay_server,
    "cli": as_command_line,
}


@pytest.mark.parametrize("role", ROLES)
async def test_the_rights_of_a_role_are_enough_and_not_more(server: Server, role: str) -> None:
    assert set(rules()) == set(ROLES)
    made_before(f"redis://127.0.0.1:{server.port}/0", 200 if role != "worker" else 1)
    server.client.script_flush()
    url = user(server, *rules()[role])
    await ROLES[role](url)
    check_rights([server], rules()[role])


@pytest.mark.parametrize("role", ROLES)
async def test_so_are_those_for_a_cluster(cluster: Cluster, role: str) -> None:
    more, instead = rights_in_a_cluster()
    # `doctor` asks one Redis only for its `info`.
    rule = [word for word in (*rules()[role], *more) if word not in (*instead, "+info")]
    notices = {"+publish"} if role == "worker" else set(instead)
    rule += [word for given, word in instead.items() if given in notices]
    cluster.flush()
    made_before(cluster.url, 200 if role != "worker" else 1)
    for node in cluster.nodes:
        node.client.script_flush()
        user(node, *rule)
    await ROLES[role](cluster.url.replace("://", "://someone:hush@"))
    check_rights(cluster.nodes, rule)


def rights_in_a_cluster() -> tuple[list[str], dict[str, str]]:
    """What users need besides, and what in place of what, in a cluster."""
    text = (ROOT / "docs" / "how-to" / "redis.md").read_text().replace("\n", " ")
    found = re.search(
        r"In a Redis Cluster they also need `([^`]+)`, and `([^`]+)` in place of `([^`]+)`", text
    )
    assert found is not None
    more, new, old = (words.split() for words in found.groups())
    return more, dict(zip(old, new, strict=True))


def check_rights(servers: Sequence[Server], rule: Sequence[str]) -> None:
    """Nothing was refused, and nothing is allowed that was not used."""
    refused = {
        (entry["reason"], entry["object"])
        for server in servers
        for entry in server.client.acl_log()
    } - {("command", "client|setinfo")}
    assert not refused
    used = {
        name.removeprefix("cmdstat_")
        for server in servers
        for name, counts in server.client.info("commandstats").items()
        if counts["calls"] > counts.get("rejected_calls", 0)
    }
    allowed = {word[1:] for word in rule if word.startswith("+")}
    # `asking` is for slots that move.
    assert allowed - used - {"ping", "asking"} == set()
    assert used - allowed <= OF_EVERY_CONNECTION | OURS


def made_before(url: str, entries: int) -> None:
    """A stream of another producer, with more entries than one script reads."""
    with contextlib.closing(sync_relay(url)) as to:
        to.call(Create("made", "another"))
        to.call(Claim("made", "eeeeeeee", "another"))
        for number in range(1, entries + 1):
            to.call(Append("made", 1, "eeeeeeee", number, 1, b'"x"'))
        to.call(Release("made", 1, "eeeeeeee", 60_000))
        # As one of a version without an index.
        to.call(Index("0", "made", remove=(ACTIVE, RECENT)))
        to.call(Claim("sealed", "eeeeeeee", "another"))
        to.call(append("sealed", 1, "eeeeeeee", "completed"))
        assert [to.call(each).kind for each in sealing("sealed", "eeeeeeee")] == ["ok"]


async def test_a_refused_notice_is_not_a_refused_write(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis 7 allows new users no channel."""
    url = user(server, "~ss:*", "+@all", "resetchannels")
    with contextlib.closing(RedisRelay(url, RelayOptions())) as relay:
        assert relay.call(Claim("s", "aaaaaaaa", "task")) == ("ok", 1, False, "0")
        assert relay.call(append("s", 1, "aaaaaaaa")) == ("ok", 1, False, "")
        answer = relay.call(Append("s", 1, "aaaaaaaa", 2, 1, b'"y"', "completed"))
        assert answer.kind == "ok"
        assert relay.state("s").end == "completed"
    server_side = AsyncRedisRelay(url, RelayOptions())
    assert (await server_side.execute([opened("h")]))[0].kind == "ok"
    await server_side.close()
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 2  # each relay once
    assert "readers see chunks late" in told[0].message
    assert "+publish &ss:*" in told[0].message


async def test_a_refused_subscription_is_told_once(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    relay = AsyncRedisRelay(user(server, "~ss:*", "+@all", "resetchannels"), RelayOptions())
    watcher = relay.watch(lambda *_: None, lambda: None)
    for name in ("a", "b"):
        await asyncio.wait_for(watcher.subscribe(name), 30)
    await watcher.close()
    await relay.close()
    told = [record.message for record in caplog.records if "Users and rights" in record.message]
    assert len(told) == 1


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (("~other:*", "&*", "+@all"), "refuse.*'Users and rights'"),
        (("~ss:*", "&*", "+evalsha", "+script|load"), "'Users and rights'"),
        (("~ss:*", "&*", "+evalsha"), "refuses.*'Users and rights'"),
        (("off",), "refuses the login"),
    ],
)
def test_not_allowed_is_not_away(server: Server, rule: tuple[str, ...], message: str) -> None:
    relay = RedisRelay(user(server, *rule), RelayOptions())
    with contextlib.closing(relay), pytest.raises(RelayUnavailableError, match=message) as error:
        relay.call(Claim("s", "aaaaaaaa", "task"))
    assert "running there" not in str(error.value)


def test_the_rules_are_all_in_one_place() -> None:
    assert not [
        str(path) for path in Path(ROOT / "docs").rglob("*.md")
        if "ACL SETUSER" in path.read_text() and path.name != "redis.md"
    ]  # fmt: skip
