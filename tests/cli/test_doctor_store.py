"""What `streams doctor` says about Redis and about the rights of its user."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery

from streamstraight_celery.cli.doctor_findings import Finding
from streamstraight_celery.cli.doctor_store import check_redis
from streamstraight_celery.runtime import Runtime
from tests.contract.test_acl import rules
from tests.support.clusters import Cluster, Server, free_port
from tests.support.secure_redis import SecureRedis


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def found(url: str, **options: object) -> dict[str, Finding]:
    app = Celery("t", broker="memory://", set_as_current=False)
    app.conf.update(stream_relay_url=url, stream_relay_options=options)
    runtime = Runtime.of(app)
    try:
        return {each.check: each for each in check_redis(app, runtime)}
    finally:
        runtime.close()


def as_user(server: Server, *rule: str) -> dict[str, Finding]:
    server.client.execute_command("ACL", "SETUSER", "someone", "reset", "on", ">hush", *rule)
    server.client.flushall()
    server.client.script_flush()
    return found(f"redis://someone:hush@127.0.0.1:{server.port}/0")


@pytest.mark.parametrize("role", ["web", "relay"])
def test_the_documented_rights_are_enough(server: Server, role: str) -> None:
    told = as_user(server, *rules()[role])
    assert told.pop("redis").grade == "warning"  # its version is not for them to know
    assert {each.grade for each in told.values()} == {"ok"}
    assert told["reading"].found.endswith("told at once")
    assert server.client.keys() == []


def test_workers_need_not_read(server: Server) -> None:
    told = as_user(server, *rules()["worker"])
    assert told["writing"].grade == "ok"
    assert told["reading"].grade == "warning"
    assert "a worker's rights" in told["reading"].found
    assert server.client.keys() == []


def test_channels_that_are_not_allowed(server: Server) -> None:
    told = as_user(server, "~ss:*", "+@all", "resetchannels")
    assert told["redis"].grade == told["writing"].grade == "ok"
    assert told["notices"].grade == "warning"
    assert "&<stream_key_prefix>*" in told["notices"].advice


@pytest.mark.parametrize(
    ("rule", "check", "words"),
    [
        (("~other:*", "&*", "+@all"), "rights", "'Users and rights'"),
        (("~ss:*", "&*", "+@all", "-xadd"), "rights", "'Users and rights'"),
        (("~ss:*", "&*", "+@all", "-zrem"), "rights", "'Users and rights'"),
        (("~ss:*", "&*", "+@all", "-script"), "rights", "'Users and rights'"),
        (("off",), "redis", "refuses the login"),
    ],
)
def test_not_allowed_is_not_away(
    server: Server, rule: tuple[str, ...], check: str, words: str
) -> None:
    told = as_user(server, *rule)[check]
    assert told.grade == "error"
    assert words in told.found
    assert "start Redis" not in told.advice


def test_away() -> None:
    told = found(f"redis://127.0.0.1:{free_port()}/0")
    assert list(told) == ["redis"]
    assert "start Redis" in told["redis"].advice


def test_certificates() -> None:
    server = SecureRedis()
    url = f"rediss://127.0.0.1:{server.port}/0"
    try:
        untrusted = found(url)["redis"]
        assert "ssl_ca_certs" in untrusted.found
        assert "start Redis" not in untrusted.advice
        assert found(url, ssl_cert_reqs="none")["tls"].grade == "warning"
        checked = found(url, **server.trust)
        assert {each.grade for each in checked.values()} == {"ok"}
        plain = found(f"redis://127.0.0.1:{server.port}/0")["redis"]
        assert "rediss://" in plain.found
    finally:
        server.close()


def test_a_cluster(cluster: Cluster) -> None:
    told = found(cluster.url)
    assert told["writing"].grade == told["reading"].grade == "ok"
    assert "notices" not in told
